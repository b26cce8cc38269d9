import numpy as np
import pytest

from compress.benchmark.workload import (
    REAL,
    Workload,
    average_interval,
    average_ms,
    relative_width,
    settled,
    speedup_interval,
    summarise,
)

RNG = np.random.default_rng(0)


def rounds(median_ms: float, spread: float, count: int = 20) -> list[np.ndarray]:
    return [median_ms * np.exp(RNG.normal(0, spread, size=50)) for _ in range(count)]


def test_percentiles_are_over_all_rounds() -> None:
    latency = summarise(Workload(4, 32), 2, [np.arange(1.0, 51), np.arange(51.0, 102)])
    assert (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms) == (51, 91, 96, 100)
    assert (latency.samples, latency.batch, latency.length, latency.threads) == (101, 4, 32, 2)


def test_texts_per_second_counts_the_batch() -> None:
    assert summarise(Workload(8, 16), 1, [np.array([4.0, 6.0])]).texts_per_s == pytest.approx(8 / 0.005)


def test_a_cheap_round_that_is_repeated_weighs_no_more_in_the_mean_than_a_dear_one() -> None:
    cascade = [np.full(5, 60.0), *[np.full(15, 6.0)] * 4]
    assert average_ms(cascade, "mean") == pytest.approx(16.8)
    latency = summarise(REAL, 1, cascade)
    assert (latency.mean_ms, latency.texts_per_s) == pytest.approx((16.8, 1000 / 16.8))
    low, high = average_interval(cascade * 20, "mean")
    assert low < 16.8 < high
    assert not settled(cascade * 20, cascade * 20, "mean")  # though the median is
    assert settled(cascade * 20, cascade * 20)


def test_interval_of_the_median_covers_it_and_narrows_with_rounds() -> None:
    few, many = average_interval(rounds(5.0, 0.3, count=6)), average_interval(rounds(5.0, 0.3, count=100))
    assert many[0] < 5.0 < many[1]
    assert many[1] - many[0] < few[1] - few[0]


def test_interval_sees_that_rounds_differ() -> None:
    calm = rounds(5.0, 0.01)
    drifting = [times * factor for times, factor in zip(calm, np.linspace(0.8, 1.2, 20), strict=True)]
    assert settled(calm, calm)
    assert not settled(drifting, drifting)


def test_what_hits_both_models_in_a_round_does_not_blur_their_ratio() -> None:
    drift = np.linspace(0.7, 1.4, 20)
    slow = [times * factor for times, factor in zip(rounds(6.0, 0.02), drift, strict=True)]
    fast = [times * factor for times, factor in zip(rounds(2.0, 0.02), drift, strict=True)]
    low, high = speedup_interval(slow, fast)
    assert low < 3.0 < high
    assert relative_width((low, high)) < 0.02 < relative_width(average_interval(slow))


def test_a_settled_median_needs_a_settled_ratio_too() -> None:
    first = [times * factor for times, factor in zip(rounds(5.0, 0.01), np.linspace(0.9, 1.1, 20), strict=True)]
    calm = rounds(5.0, 0.01)
    assert settled(calm, calm)
    assert not settled(first, calm)


def test_loads_read_well() -> None:
    assert [str(REAL), str(Workload(8, 128))] == ["real texts", "8 x 128 tokens"]
