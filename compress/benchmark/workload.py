"""The shapes that are timed, and the figures that describe their raw times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import percentile_interval

Times = npt.NDArray[np.float64]
Average = Literal["p50", "mean"]

_RESAMPLES = 300
_SETTLED = 0.02


@dataclass(frozen=True, slots=True)
class Workload:
    """One shape of work: ``batch`` texts of ``length`` tokens, or real texts, unpadded, one at a time.

    With ``real`` the time is from token ids to logits, with ``answer`` from a real text to its label.
    """

    batch: int
    length: int | Literal["real", "answer"]

    def __str__(self) -> str:
        if self.length == "answer":
            return "texts to answers"
        return "real texts" if self.length == "real" else f"{self.batch} x {self.length} tokens"


REAL = Workload(batch=1, length="real")
ANSWERS = Workload(batch=1, length="answer")


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of one model's calls under one workload; ``p50_ci95`` is the 95% interval of their median."""

    batch: int
    length: int | Literal["real", "answer"]
    threads: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    texts_per_s: float
    samples: int
    p50_ci95: tuple[float, float]
    mean_ms: float


def summarise(workload: Workload, threads: int, rounds_ms: Sequence[Times]) -> Latency:
    """The figures of a workload from its raw times in milliseconds, one array a round."""
    times_ms = np.concatenate(rounds_ms)
    p50_ms, p90_ms, p95_ms, p99_ms = np.percentile(times_ms, [50, 90, 95, 99]).tolist()
    mean_ms = average_ms(rounds_ms, "mean")
    about = workload.batch, workload.length, threads
    rate, interval = workload.batch * 1000 / mean_ms, average_interval(rounds_ms)
    return Latency(*about, p50_ms, p90_ms, p95_ms, p99_ms, rate, len(times_ms), interval, mean_ms)


def average_ms(rounds_ms: Sequence[Times], average: Average = "p50") -> float:
    """The median of all times of all rounds, or the mean of the rounds' means.

    A quick round goes over its texts more often than a slow one, so a mean of all times would count quick texts more.
    """
    if average == "mean":
        return float(_means(rounds_ms).mean())
    return float(np.median(np.concatenate(rounds_ms)))


def average_interval(rounds_ms: Sequence[Times], average: Average = "p50") -> tuple[float, float]:
    """The average's 95% bootstrap interval, with whole rounds drawn: times within a round share its disturbances."""
    return percentile_interval(_resampled(rounds_ms, average))


def speedup_interval(
    first_ms: Sequence[Times], other_ms: Sequence[Times], average: Average = "p50"
) -> tuple[float, float]:
    """The 95% interval of the first model's average over the other's, where both took turns in the same rounds.

    The same rounds are drawn for both, so a disturbance of a round that hits both does not widen it.
    """
    return percentile_interval(_resampled(first_ms, average) / _resampled(other_ms, average))


def settled(first_ms: Sequence[Times], rounds_ms: Sequence[Times], average: Average = "p50") -> bool:
    """Whether the 95% intervals of the average and of its ratio to the first model's are within 2% either side."""
    intervals = average_interval(rounds_ms, average), speedup_interval(first_ms, rounds_ms, average)
    return all(relative_width(each) <= _SETTLED for each in intervals)


def relative_width(interval: tuple[float, float]) -> float:
    """Half the width of an interval, as a fraction of its middle."""
    low, high = interval
    return (high - low) / (high + low)


def _means(rounds_ms: Sequence[Times]) -> Times:
    return np.asarray([times.mean() for times in rounds_ms])


def _resampled(rounds_ms: Sequence[Times], average: Average) -> Times:
    """Averages ``[resamples]`` of whole rounds drawn at random; equal numbers of rounds get equal draws."""
    draws = np.random.default_rng(0).integers(len(rounds_ms), size=(_RESAMPLES, len(rounds_ms)))
    if average == "mean":
        return np.asarray(_means(rounds_ms)[draws].mean(axis=1))
    return np.asarray([np.median(np.concatenate([rounds_ms[index] for index in draw])) for draw in draws])
