"""The one clock: every duration that the project measures or prints comes from here."""

import time


class Stopwatch:
    """Counts from its creation, on a clock that never goes back."""

    def __init__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    @property
    def seconds(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) / 1e9

    @property
    def milliseconds(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) / 1e6


def in_words(seconds: float) -> str:
    """A duration as people say it: ``42 s``, ``3 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
