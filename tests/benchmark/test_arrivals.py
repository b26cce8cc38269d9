import time
from pathlib import Path

import numpy as np
import pytest

from compress.benchmark.interleave import WorkerPool
from compress.benchmark.measure import bench
from compress.benchmark.model_server import serve_arrivals
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.rows import Row
from compress.benchmark.throughput import (
    Stretch,
    measure_served,
    measure_throughput,
    poisson_arrivals,
    summarise_served,
)
from compress.benchmark.workload import REAL
from compress.config import BenchConfig
from tests.benchmark.test_bench import TEST, TEXTS


def test_arrivals_are_a_poisson_process() -> None:
    arrivals_s = poisson_arrivals(50, 400, seed=0)
    gaps_s = np.diff(arrivals_s)
    assert (gaps_s >= 0).all()
    assert gaps_s.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps_s.std() == pytest.approx(1 / 50, rel=0.05)  # exponential: as wide as its mean
    assert (arrivals_s == poisson_arrivals(50, 400, seed=0)).all()
    assert len(poisson_arrivals(0.001, 0.001, seed=0)) == 1


def test_none_is_answered_before_it_is_there_and_waiting_counts() -> None:
    answered: list[float] = []
    start = time.perf_counter()

    def answer(_: int) -> None:
        time.sleep(0.02)
        answered.append(time.perf_counter() - start)

    # Two at once, so the second waits for the first; the third finds the server idle.
    arrivals_s = np.array([0.05, 0.05, 0.3])
    times_ms, seconds = serve_arrivals(arrivals_s, answer)
    assert all(done >= arrival + 0.02 for done, arrival in zip(answered, arrivals_s, strict=True))
    assert times_ms[1] >= times_ms[0] + 20
    assert times_ms[0] >= 20
    assert seconds >= 0.32


def test_more_than_a_server_can_answer_ends_and_is_called_overloaded() -> None:
    arrivals_s = poisson_arrivals(1000, 0.2, seed=0)
    times_ms, seconds = serve_arrivals(arrivals_s, lambda _: time.sleep(0.01))
    assert len(times_ms) < len(arrivals_s)
    assert summarise_served(1000, 1, [Stretch(times_ms, seconds, arrivals_s)]).overloaded


def test_the_first_text_is_always_answered() -> None:
    """However short the stretch is, there are times to tell of."""
    arrivals_s = np.array([1e-9, 2e-9])
    times_ms, seconds = serve_arrivals(arrivals_s, lambda _: time.sleep(0.001))
    assert len(times_ms) == 1
    assert summarise_served(1e9, 1, [Stretch(times_ms, seconds, arrivals_s)]).overloaded


def served_in_turn(arrivals_s: list[float], each_s: float) -> Stretch:
    """The stretch of a server that takes ``each_s`` for a text, where nothing holds it up."""
    ends_s: list[float] = []
    for arrival_s in arrivals_s:
        ends_s.append(max(arrival_s, ends_s[-1] if ends_s else 0.0) + each_s)
    return Stretch(1000 * (np.array(ends_s) - arrivals_s), ends_s[-1], np.array(arrivals_s))


def test_a_queue_that_grew_until_the_last_arrival_is_called_overloaded() -> None:
    stretch = served_in_turn(np.linspace(0.0, 0.2, 30).tolist(), 0.01)
    assert summarise_served(150, 1, [stretch, stretch]).overloaded


@pytest.mark.parametrize("arrivals_s", [[0.03], [0.02, 0.1], [0.0, 0.001, 0.1]])
def test_a_server_that_was_idle_before_the_last_arrival_is_not_overloaded(arrivals_s: list[float]) -> None:
    """Its answer takes a good part of the time until then: that tells nothing of a queue."""
    assert not summarise_served(10, 1, [served_in_turn(arrivals_s, 0.02)]).overloaded


def test_a_server_that_keeps_up_is_not_overloaded() -> None:
    served = summarise_served(10, 2, [Stretch(np.arange(1.0, 101.0), 10.1, np.linspace(0.1, 10, 100))])
    assert not served.overloaded
    assert (served.texts, served.threads) == (100, 2)
    assert [served.p50_ms, served.p99_ms] == pytest.approx([50.5, 99.01])
    assert served.answered_per_s == pytest.approx(100 / 10.1)


@pytest.mark.usefixtures("forked_workers")
def test_all_texts_are_gone_over_and_the_same_arrivals_are_served(tiny_onnx: Path) -> None:
    with WorkerPool({"a": Row(tiny_onnx), "b": Row(tiny_onnx)}, 1) as pool:
        info = pool.each(ModelWorker.open)
        pool.each(lambda worker: worker.logits(TEXTS))
        pool.each(lambda worker: worker.prepare(REAL, TEXTS))
        offline = measure_throughput(pool, info, TEXTS, budget_s=10)
        served = measure_served(pool, 100, budget_s=0.6, seed=1)
    assert offline["a"].texts == len(TEXTS)
    assert len(offline["a"].passes_texts_per_s) == 3
    assert offline["a"].texts_per_s == pytest.approx(np.median(offline["a"].passes_texts_per_s))
    expected = sum(len(poisson_arrivals(100, 0.3, seed)) for seed in (1, 2))
    assert served["a"].texts == served["b"].texts == expected
    assert not served["a"].overloaded


@pytest.mark.usefixtures("forked_workers")
def test_a_rate_adds_the_latencies_under_load(tiny_onnx: Path) -> None:
    model = bench([tiny_onnx], TEST, "single_label", BenchConfig(seconds=0.2, threads=[1], rate=200))["models"][0]
    assert model["served"]["rate_per_s"] == 200
    assert 0 < model["served"]["p50_ms"] <= model["served"]["p99_ms"]
    assert model["throughput"]["texts"] == len(TEST)
