"""Several processes of one model side by side."""

import os
import signal
from itertools import count
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from compress.benchmark.measure import bench
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.report.page import as_html, as_markdown
from compress.benchmark.report.sentences import split_words
from compress.benchmark.rows import Row
from compress.benchmark.throughput import cpu_splits, measure_split, summarise_split
from compress.benchmark.workload import Times
from compress.clock import Stopwatch
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.machine import usable_cpus
from tests.benchmark.test_bench import TEST


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 64])
def test_no_split_uses_more_than_the_cpus_there_are(cpus: int) -> None:
    splits = cpu_splits(range(1, cpus + 1), cpus)
    assert all(0 < instances * threads <= cpus for instances, threads in splits)
    assert (1, cpus) in splits
    assert (cpus, 1) in splits
    with pytest.raises(CompressError, match=f"{cpus + 1} is more than the {cpus} CPUs"):
        cpu_splits([cpus + 1], cpus)


def test_processes_that_work_at_the_same_time_add_up() -> None:
    slow, fast = np.full(10, 10.0), np.full(50, 2.0)  # 100 and 500 texts a second
    split = summarise_split(2, 1, [[slow, fast], [fast, fast], [slow, slow]])
    assert split.stretches_texts_per_s == pytest.approx((600, 1000, 200))
    assert split.texts_per_s == pytest.approx(600)
    assert (split.p50_ms, split.p95_ms) == (2.0, 10.0)


def test_the_best_split_is_said_whichever_it_is() -> None:
    splits = [
        {"instances": 1, "threads": 2, "texts_per_s": 1000.0, "p95_ms": 2.0},
        {"instances": 2, "threads": 1, "texts_per_s": 1900.0, "p95_ms": 2.5},
    ]
    said = split_words({"name": "int8", "instances": splits})
    assert said.startswith("int8 answers most as 2 instances of 1 thread: 1,900 texts/s, 1.9")
    assert said.endswith("as many as 1 instance of 2 threads.")
    assert split_words({"name": "a", "instances": splits[:1]}).endswith("1 instance of 2 threads: 1,000 texts/s.")


@pytest.mark.usefixtures("forked_workers")
def test_instances_are_measured_and_shown(tiny_onnx: Path) -> None:
    counts = sorted({1, usable_cpus()})
    results = bench([tiny_onnx], TEST, "single_label", BenchConfig(seconds=0.2, threads=[1], instances=counts))
    splits = results["models"][0]["instances"]
    assert [split["instances"] for split in splits] == counts
    assert all(split["texts_per_s"] > 0 for split in splits)
    assert split_words(results["models"][0]) in as_markdown(results)
    assert "Sharing out the CPUs" in as_html(results)
    with pytest.raises(CompressError, match=r"bench\.instances 1000000"):
        bench([tiny_onnx], TEST, "single_label", BenchConfig(instances=[1000000]))


def test_ctrl_c_does_not_wait_until_the_processes_have_worked_to_the_end(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretch_s, turns, watch, turn = 20.0, count(1), Stopwatch(), ModelWorker.turn

    def turn_and_ctrl_c(worker: ModelWorker, calls: int, at_least_s: float) -> Times:
        if next(turns) == 2:  # both processes are at work a moment later
            nonlocal watch
            watch = Stopwatch()
            Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        return turn(worker, calls, at_least_s)

    monkeypatch.setattr(ModelWorker, "turn", turn_and_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            measure_split("model", Row(tiny_onnx), 2, 1, TEST.texts, 3 * stretch_s)
    finally:
        signal.signal(signal.SIGINT, before)
    assert watch.seconds < stretch_s / 2
