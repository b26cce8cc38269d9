"""How long a call takes: CUDA events on a GPU, the one clock elsewhere."""

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median

import torch

from compress.clock import Stopwatch

_WARM_UPS, _CALLS_AT_LEAST, _CALLS_AT_MOST = 3, 5, 400


def median_ms(calls: Sequence[Callable[[], object]], device: str, seconds: float) -> float:
    """The median of calls made one after the other, in turn, for ``seconds`` after a warm-up, but of 5 at least.

    Each call is waited for, as a server of one request after the other does. On a CPU, whose figures mean nothing, each
    is made once to warm up and one is timed.
    """
    on_gpu = device == "cuda"
    for call in islice(cycle(calls), max(_WARM_UPS if on_gpu else 1, len(calls))):
        call()
    if on_gpu:
        torch.cuda.synchronize()
    times_ms: list[float] = []
    watch = Stopwatch()
    for call in islice(cycle(calls), _CALLS_AT_MOST):
        times_ms.append(_gpu_ms(call) if on_gpu else _cpu_ms(call))
        if len(times_ms) >= (_CALLS_AT_LEAST if on_gpu else 1) and watch.seconds >= seconds:
            break
    return median(times_ms)


def _gpu_ms(call: Callable[[], object]) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def _cpu_ms(call: Callable[[], object]) -> float:
    watch = Stopwatch()
    call()
    return watch.milliseconds
