"""The shapes that are timed, and the figures that describe their raw times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

_RESAMPLES = 300
_SETTLED = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """One shape of work: ``batch`` texts of ``length`` tokens, or real texts, unpadded, one at a time."""

    batch: int
    length: int | Literal["real"]

    def __str__(self) -> str:
        return "real texts" if self.length == "real" else f"{self.batch} x {self.length} tokens"


REAL = Load(batch=1, length="real")


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of one model under one load; ``p50_ci95`` is the median's 95% interval."""

    batch: int
    length: int | Literal["real"]
    threads: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    texts_per_s: float
    samples: int
    p50_ci95: tuple[float, float]


def summarise(load: Load, threads: int, rounds_ms: Sequence[Times]) -> Latency:
    """The figures of a load from its raw times in milliseconds, one array a round."""
    times_ms = np.concatenate(rounds_ms)
    p50_ms, p90_ms, p95_ms, p99_ms = np.percentile(times_ms, [50, 90, 95, 99]).tolist()
    texts_per_s = load.batch * 1000 / float(times_ms.mean())
    interval = median_interval(rounds_ms)
    return Latency(
        load.batch, load.length, threads, p50_ms, p90_ms, p95_ms, p99_ms, texts_per_s, len(times_ms), interval
    )


def median_interval(rounds_ms: Sequence[Times]) -> tuple[float, float]:
    """The median's 95% bootstrap interval, with whole rounds drawn: times within a round share its disturbances."""
    draws = np.random.default_rng(0).integers(len(rounds_ms), size=(_RESAMPLES, len(rounds_ms)))
    medians = [np.median(np.concatenate([rounds_ms[index] for index in draw])) for draw in draws]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def settled(rounds_ms: Sequence[Times]) -> bool:
    """Whether the median's 95% interval reaches at most 2% to either side."""
    low, high = median_interval(rounds_ms)
    return (high - low) / 2 <= _SETTLED * float(np.median(np.concatenate(rounds_ms)))
