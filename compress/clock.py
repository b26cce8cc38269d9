"""The one clock: every duration that the project measures or prints comes from here."""

import time


class Stopwatch:
    """Measures the time since its creation, on a clock that never goes back."""

    def __init__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    @property
    def seconds(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) / 1e9

    @property
    def milliseconds(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) / 1e6


class CudaStopwatch:
    """Measures the GPU's own time since its creation (CUDA events), whatever the CPU does meanwhile.

    Reading it waits until the GPU has done all work that was queued before.
    """

    def __init__(self) -> None:
        import torch

        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._start.record()

    @property
    def milliseconds(self) -> float:
        self._end.record()
        self._end.synchronize()
        return float(self._start.elapsed_time(self._end))


def in_words(seconds: float) -> str:
    """A duration as people write it: ``42 s``, ``3 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
