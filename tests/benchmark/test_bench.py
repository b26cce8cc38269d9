import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

import compress
from compress import load
from compress.benchmark.contention import CpuWatch
from compress.benchmark.interleave import WorkerPool, take_turns
from compress.benchmark.measure import bench
from compress.benchmark.model_server import fixed_feeds
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.report.page import write_report
from compress.benchmark.rows import Row, unique_names
from compress.benchmark.workload import REAL, Times, Workload
from compress.config import BenchConfig
from compress.data import Split
from compress.errors import CompressError
from compress.machine import gpu_name
from compress.modeling.checkpoint import save_checkpoint
from compress.workers import process
from compress.workers.process import WorkerError
from tests.processes import ForkedWorker, start_interruptible, start_server, wait_until
from tests.tiny import make_bert, make_checkpoint

TEXTS = [f"a {'very ' * (number % 9)}good film, number {number}" for number in range(40)]
TEST = Split(texts=list(TEXTS), labels=[("positive",) if number % 3 else ("negative",) for number in range(40)])
QUICK = BenchConfig(seconds=0.2, threads=[1])


@pytest.fixture
def broken(tiny_onnx: Path, tmp_path: Path) -> Path:
    """A model that no worker can open."""
    folder = tmp_path / "broken"
    shutil.copytree(tiny_onnx, folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    start_server()
    before = children()
    yield
    assert children() <= before


@pytest.mark.usefixtures("forked_workers")
def test_every_shape_is_measured_at_every_thread_count(tiny_onnx: Path) -> None:
    config = BenchConfig(seconds=0.1, threads=[2, 1], batch=[1, 2], length=[8])
    model = bench([tiny_onnx], TEST, "single_label", config)["models"][0]
    loads = [(1, "real"), (1, 8), (2, 8)]
    expected = [(*load, threads) for threads in (2, 1) for load in loads]
    assert [(each["batch"], each["length"], each["threads"]) for each in model["latency"]] == expected
    assert "one_thread" not in model["versus_first"]  # which is for a busy machine
    for each in model["latency"]:
        assert 0 < each["p50_ms"] <= each["p90_ms"] <= each["p95_ms"] <= each["p99_ms"]
        assert each["p50_ci95"][0] <= each["p50_ms"] <= each["p50_ci95"][1]


@pytest.mark.slow  # two threads share the CPU of a worker of the suite with the neighbour: up to a minute and a half
def test_beside_a_busy_neighbour_each_model_is_timed_with_one_thread_too(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_start", ForkedWorker)  # and timed long enough for the neighbour to be seen
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            config = BenchConfig(seconds=0.1, threads=[2])
            models = bench([tiny_onnx, tiny_onnx], TEST, "single_label", config)["models"]
        finally:
            neighbour.kill()
    assert all(model["versus_first"]["one_thread"]["speedup_p50"] > 0 for model in models)
    assert [each["threads"] for each in models[1]["latency"]] == [2, 1]


@pytest.mark.usefixtures("forked_workers")
def test_model_against_itself_and_beside_a_broken_one(tiny_onnx: Path, broken: Path) -> None:
    results = bench([tiny_onnx, broken, tiny_onnx], TEST, "single_label", QUICK)

    first, second = results["models"]
    assert first["name"] != second["name"]
    one, certain = 1.0, (1.0, 1.0)
    varies = {"speedup_p50": one, "speedup_ci95": certain, "speedup_answer": one, "speedup_answer_ci95": certain}
    assert first["versus_first"] == {
        "accuracy_delta": 0.0,
        "ci95": (0.0, 0.0),
        "agreement": 1.0,
        "mcnemar_p": 1.0,
        "speedup_p50": 1.0,
        "speedup_ci95": (1.0, 1.0),
        "speedup_answer": 1.0,
        "speedup_answer_ci95": (1.0, 1.0),
        "size_ratio": 1.0,
    }
    low, high = second["versus_first"]["speedup_ci95"]
    assert low <= second["versus_first"]["speedup_p50"] <= high
    below, above = second["versus_first"]["ci95"]
    assert below < 0 < above  # no text was answered otherwise, and of more texts one might be
    assert second["versus_first"] | varies | {"ci95": (0.0, 0.0)} == first["versus_first"]
    assert [failure["name"] for failure in results["failed"]] == ["broken"]
    assert results["failed"][0]["reason"].count("\n") == 0


def test_worker_that_is_killed_is_noted_and_the_others_go_on(tiny_onnx: Path) -> None:
    with WorkerPool({"doomed": Row(tiny_onnx), "other": Row(tiny_onnx)}, 1) as pool:
        pool.each(ModelWorker.open)
        doomed = pool.workers[0]
        os.kill(doomed.session, signal.SIGKILL)
        rounds_ms: dict[str, list[Times]] = {}
        take_turns(pool, REAL, TEXTS, 0.1, lambda _: None, rounds_ms)
        assert list(rounds_ms) == ["other"]
        assert "signal 9" in pool.failed["doomed"]


CRASHES: dict[str, tuple[dict[str, object], str, object, int, str]] = {
    "a large batch": (
        {"threads": [1], "batch": [1, 64], "length": [8]},
        "prepare",
        Workload(64, 8),
        1,
        "64 x 8 tokens",
    ),
    "real texts on more threads": ({"threads": [1, 2]}, "prepare", REAL, 2, "real texts"),
    "opening on more threads": ({"threads": [1, 2], "batch": [2], "length": [8]}, "open", None, 2, "real texts"),
    "one thread beside": ({"threads": [2]}, "prepare", REAL, 1, "real texts"),
}


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("crash", CRASHES.values(), ids=list(CRASHES))
def test_a_crash_after_real_texts_were_timed_costs_no_more_than_its_load(
    crash: tuple[dict[str, object], str, object, int, str],
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, method, under, threads, load = crash
    whole = getattr(ModelWorker, method)

    def crashing(worker: ModelWorker, *given: object) -> object:
        if under in (None, *given) and worker._threads == threads:
            worker.ask(do="crash")
        return whole(worker, *given)

    monkeypatch.setattr(ModelWorker, method, crashing)
    monkeypatch.setattr(CpuWatch, "busy", lambda _: True)  # then one thread is timed as well
    results = bench([tiny_onnx], TEST, "single_label", BenchConfig.parse(settings | {"seconds": 0.1}))
    assert results["failed"] == []
    assert results["models"][0]["latency"][0]["length"] == "real"
    assert results["models"][0]["answer_p50_ms"] > 0
    skipped = results["skipped"][0]
    assert (skipped["name"], skipped["load"], skipped["threads"]) == (tiny_onnx.name, load, threads)
    assert "exit status 1" in skipped["reason"]
    write_report(results, tmp_path)


@pytest.mark.usefixtures("forked_workers")
def test_a_first_model_that_crashes_before_it_is_timed_is_refused(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ModelWorker.prepare

    def crashing(worker: ModelWorker, *given: Any) -> float:
        if worker.name == names[0]:
            worker.ask(do="crash")
        return whole(worker, *given)

    names = list(unique_names([tiny_onnx, tiny_onnx]))
    monkeypatch.setattr(ModelWorker, "prepare", crashing)
    with pytest.raises(CompressError, match=r"the first model is the reference and cannot be measured .*exit status 1"):
        bench([tiny_onnx, tiny_onnx], TEST, "single_label", QUICK)


def test_worker_that_crashes_leaves_the_last_line_of_its_traceback(tiny_onnx: Path) -> None:
    with ModelWorker("a", Row(tiny_onnx), 1) as worker:
        worker.open()
        with pytest.raises(WorkerError, match=r"^IndexError: .*\(exit status 1\)$"):
            worker.prepare(Workload(1, 4), [])


@pytest.mark.usefixtures("forked_workers")
def test_everyone_gets_the_same_number_of_rounds(tiny_onnx: Path) -> None:
    shares: list[float] = []
    rounds_ms: dict[str, list[Times]] = {}
    with WorkerPool({"a": Row(tiny_onnx), "b": Row(tiny_onnx)}, 1) as pool:
        pool.each(ModelWorker.open)
        take_turns(pool, Workload(2, 8), TEXTS, 0.2, shares.append, rounds_ms)
    assert len(rounds_ms["a"]) == len(rounds_ms["b"]) == len(shares)
    assert len(shares) % 2 == 0
    assert shares == sorted(shares)


def test_all_models_failing_is_an_error_that_gives_a_reason(tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=r"missing: no such folder"):
        bench([tmp_path / "missing"], TEST, "single_label", QUICK)


def test_without_test_texts_it_says_how_to_give_them(tiny_onnx: Path) -> None:
    with pytest.raises(CompressError, match="--test"):
        bench([tiny_onnx], Split(texts=[], labels=[]), "single_label", QUICK)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("task", ["multi_label", "pair_multi_label"])
def test_a_model_of_another_task_is_refused(tiny_onnx: Path, task: str) -> None:
    with pytest.raises(CompressError, match="single_label model, the data is"):
        bench([tiny_onnx], TEST, task, QUICK)


@pytest.mark.usefixtures("forked_workers")
def test_f1_is_reported_where_it_is_asked_for(tiny_onnx: Path) -> None:
    config = BenchConfig(seconds=0.1, threads=[1], metric="f1")
    accuracy = bench([tiny_onnx], TEST, "single_label", config)["models"][0]["accuracy"]
    said = [prediction.label for prediction in load(tiny_onnx)(TEST.texts)]
    right = [label for (label,) in TEST.labels]
    assert accuracy["metric"] == "f1"
    assert accuracy["value"] == pytest.approx(f1_score(right, said, pos_label="positive"))


@pytest.mark.usefixtures("forked_workers")
def test_f1_of_three_labels_is_refused_before_anything_is_timed(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelWorker, "prepare", lambda *_: pytest.fail("was timed"))
    three = make_checkpoint(tiny_encoder, make_bert((4,), (128,), labels=3), ("even", "negative", "positive"))
    save_checkpoint(three, tmp_path / "torch")
    compress.export(tmp_path / "torch", tmp_path / "onnx", threads=1)
    with pytest.raises(CompressError, match="metric f1 is for tasks of two labels, this one has 3"):
        bench([tmp_path / "onnx"], TEST, "single_label", BenchConfig(metric="f1"))


@pytest.mark.usefixtures("forked_workers")
def test_the_reference_is_not_swapped_for_another(tiny_onnx: Path, broken: Path) -> None:
    with pytest.raises(CompressError, match="first model is the reference"):
        bench([broken, tiny_onnx], TEST, "single_label", QUICK)


@pytest.mark.usefixtures("forked_workers")
def test_unknown_label_names_model_and_label(tiny_onnx: Path) -> None:
    strange = Split(texts=["a", "b"], labels=[("positive",), ("lukewarm",)])
    with pytest.raises(CompressError, match=f"{tiny_onnx.name} .*'lukewarm'.*negative, positive"):
        bench([tiny_onnx], strange, "single_label", QUICK)


@pytest.mark.usefixtures("forked_workers")
def test_length_beyond_the_models_limit_is_refused(tiny_onnx: Path) -> None:
    with pytest.raises(CompressError, match=r"bench\.length 100000 is more than"):
        bench([tiny_onnx], TEST, "single_label", BenchConfig(batch=[1], length=[100000]))


@pytest.mark.skipif(gpu_name() is not None, reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="use --device cpu"):
        bench([tmp_path], TEST, "single_label", BenchConfig(device="cuda"))


def test_names_are_unique_and_keep_the_order(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "int8", tmp_path / "b" / "int8", tmp_path / "teacher", tmp_path / "b" / "int8"]
    named = unique_names(paths)
    assert list(named) == ["a/int8", "b/int8", "teacher", "b/int8 (2)"]
    assert list(named.values()) == paths


def test_fixed_feeds_are_full_and_begin_and_end_like_a_text() -> None:
    for feeds in fixed_feeds([101, 7, 8, 9, 102], batch=3, length=6):
        ids = feeds["input_ids"]
        assert ids.shape == (3, 6)
        assert (ids[:, 0] == 101).all()
        assert (ids[:, -1] == 102).all()
        assert feeds["attention_mask"].all()
        assert np.isin(ids, [101, 7, 8, 9, 102]).all()


@pytest.mark.usefixtures("forked_workers")
def test_texts_without_labels_give_speed_and_agreement_only(tiny_onnx: Path, tmp_path: Path) -> None:
    results = bench([tiny_onnx, tiny_onnx], Split(texts=list(TEXTS), labels=[]), "single_label", QUICK)
    first, second = results["models"]
    assert first["accuracy"] is None
    assert second["versus_first"]["accuracy_delta"] is None
    assert second["versus_first"]["agreement"] == 1.0
    assert second["versus_first"]["speedup_p50"] > 0
    assert "no labels" in results["recommendation"]["why"]
    write_report(results, tmp_path)
    assert "accuracy" not in (tmp_path / "report.md").read_text().splitlines()[5]
    assert f"on {len(TEXTS)} test texts" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("forked_workers")
def test_figures_are_those_of_the_raw_times_that_are_kept(tiny_onnx: Path, tmp_path: Path) -> None:
    results = bench([tiny_onnx], TEST, "single_label", QUICK)
    write_report(results, tmp_path)
    answers, kept = map(json.loads, (tmp_path / "samples.jsonl").read_text().splitlines())
    assert (answers["length"], kept["length"]) == ("answer", "real")
    answers_ms = [time for round_ms in answers["rounds_ms"] for time in round_ms]
    assert np.median(answers_ms) == pytest.approx(results["models"][0]["answer_p50_ms"], abs=1e-4)
    latency = results["models"][0]["latency"][0]
    times_ms = [time for round_ms in kept["rounds_ms"] for time in round_ms]
    assert len(times_ms) == latency["samples"]
    assert np.median(times_ms) == pytest.approx(latency["p50_ms"], abs=1e-4)
    assert "samples" not in json.loads((tmp_path / "results.json").read_text())


INTERRUPTED = """
import sys
from pathlib import Path
from compress.benchmark.measure import bench
from compress.config import BenchConfig
from compress.data import Split

texts = Split(["a text"] * 9, [("positive",)] * 9)
bench([Path(sys.argv[1])] * 2, texts, "single_label", BenchConfig(seconds=600, threads=[1]))
"""


def test_ctrl_c_before_any_time_is_known_ends_the_workers_and_is_passed_on(tiny_onnx: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tiny_onnx)]
    with start_interruptible(command, stderr=subprocess.PIPE) as process:
        listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: process.poll() is not None or len(listing.read_text().split()) == 2)
        workers = listing.read_text().split()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    # One that was just being started ends when it sees that its stdin is closed.
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert "KeyboardInterrupt" in errors
