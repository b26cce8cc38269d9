"""Texts that arrive at random and wait their turn: MLPerf's server scenario (Reddi et al. 2020), with one server."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from compress.benchmark.workload import Times
from compress.clock import Stopwatch

_KEPT_UP = 0.9
_AT_MOST = 2.0
_SPUN_S = 0.001


@dataclass(frozen=True, slots=True)
class Served:
    """Latencies from arrival to answer, waiting, tokenizer and model together, of one server with ``threads``.

    Below 90% of the arrivals the server is ``overloaded``: its queue grows without end, and the latencies only show how
    long was measured.
    """

    rate_per_s: float
    threads: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    answered_per_s: float
    overloaded: bool
    texts: int


def poisson_arrivals(rate_per_s: float, seconds: float, seed: int) -> Times:
    """Times of arrival in seconds of a Poisson process, ``[n]``, at least one."""
    rng = np.random.default_rng(seed)
    n = max(1, int(rng.poisson(rate_per_s * seconds)))
    return np.sort(rng.random(n) * seconds)  # given their number, arrivals are uniform


def serve_arrivals(arrivals_s: Times, answer: Callable[[int], None]) -> tuple[Times, float]:
    """Answer each arrival in order, none before its time, until all are answered or twice their time has passed.

    Returns:
        Milliseconds from arrival to answer of each that was answered, and the seconds that all took.
    """
    times_ms = []
    watch = Stopwatch()
    for number, arrival_s in enumerate(arrivals_s.tolist()):
        if watch.seconds > _AT_MOST * arrivals_s[-1]:
            break
        while (left_s := arrival_s - watch.seconds) > 0:
            if left_s > _SPUN_S:  # the last millisecond is spun, since sleep would overshoot it
                time.sleep(left_s - _SPUN_S)
        answer(number)
        times_ms.append(1000 * (watch.seconds - arrival_s))
    return np.asarray(times_ms), watch.seconds


def summarise_served(rate_per_s: float, threads: int, stretches: Sequence[tuple[Times, float, float]]) -> Served:
    """The figures of several stretches: times in ms, seconds until the last answer, seconds until the last arrival."""
    times_ms = np.concatenate([times for times, _, _ in stretches])
    took_s = sum(took for _, took, _ in stretches)
    p50_ms, p90_ms, p95_ms, p99_ms = np.percentile(times_ms, [50, 90, 95, 99]).tolist()
    overloaded = sum(arriving for _, _, arriving in stretches) < _KEPT_UP * took_s
    return Served(
        rate_per_s, threads, p50_ms, p90_ms, p95_ms, p99_ms, len(times_ms) / took_s, overloaded, len(times_ms)
    )
