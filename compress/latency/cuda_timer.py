"""A PyTorch model on a GPU, timed by the GPU's own events."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch

from compress.runtime.encoding import Feeds


class CudaTimer:
    """As :class:`compress.latency.timer.Timer`, for a model on CUDA.

    Args:
        model: is moved to the GPU, and back in the end.
        feeds: its inputs, over and over in this order.
    """

    def __init__(self, model: torch.nn.Module, feeds: Sequence[Feeds]) -> None:
        self._model: torch.nn.Module = torch.nn.Module.to(model, "cuda").eval()
        self._feeds = [{name: torch.from_numpy(array).cuda() for name, array in each.items()} for each in feeds]
        self._at = 0

    @torch.inference_mode()
    def turn(self, calls: int) -> float:
        """The median time in milliseconds of the next ``calls`` calls."""
        pairs = []
        for _ in range(calls):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            self._model(**self._feeds[self._at % len(self._feeds)])
            end.record()
            torch.cuda.synchronize()  # one call after the other, as a server of single texts makes them
            self._at += 1
            pairs.append(begin.elapsed_time(end))
        return float(np.median(pairs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._model.to("cpu")
        torch.cuda.empty_cache()
