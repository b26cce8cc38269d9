"""A model that only ever sees a few shapes, as CUDA graphs need it: inputs are padded up to the next bucket.

A CUDA graph replays the same kernels on the same memory, which saves the CPU's work of launching each of them (see
"CUDA Graphs" in PyTorch's CUDA semantics).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensors = dict[str, torch.Tensor]
Forward = Callable[[Tensors], torch.Tensor]
Replay = Callable[[], torch.Tensor]
Capture = Callable[[Forward, Tensors], Replay]

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Bucket:
    """A shape that is captured: rows, and tokens of each."""

    batch: int
    length: int


def bucket_of(batch: int, length: int, longest: int) -> Bucket:
    """The smallest bucket that holds ``batch`` texts of ``length`` tokens, in a model that takes ``longest`` at most.

    Lengths are those of ``LENGTHS``, which waste a quarter on average less than powers of two; batches are powers of
    two.
    """
    up_to = min((bucket for bucket in LENGTHS if bucket >= length), default=length)
    return Bucket(1 << (batch - 1).bit_length(), max(length, min(up_to, longest)))


class StaticShapes:
    """Calls ``forward`` through a captured replay a bucket.

    Args:
        forward: tensors ``[batch, length]`` by name to logits ``[batch, labels]``.
        longest: tokens that the model takes.
        capture: makes the replay of ``forward`` on inputs whose memory stays where it is.
    """

    def __init__(self, forward: Forward, longest: int, capture: Capture) -> None:
        self._forward, self._longest, self._capture = forward, longest, capture
        self._captured: dict[Bucket, tuple[Tensors, Replay]] = {}

    def __call__(self, tensors: Tensors) -> torch.Tensor:
        """Logits ``[batch, labels]``, good until the next call."""
        batch, length = tensors["input_ids"].shape
        bucket = bucket_of(batch, length, self._longest)
        if bucket not in self._captured:
            inputs = {name: tensor.new_zeros(bucket.batch, bucket.length) for name, tensor in tensors.items()}
            _fill(inputs, tensors)
            self._captured[bucket] = inputs, self._capture(self._forward, inputs)
        inputs, replay = self._captured[bucket]
        _fill(inputs, tensors)
        return replay()[:batch]


def capture_cuda(forward: Forward, inputs: Tensors) -> Replay:
    """The replay of a CUDA graph; the warm-up before it, on a stream of its own, is what PyTorch recommends."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            forward(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = forward(inputs)

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay


def _fill(inputs: Tensors, tensors: Tensors) -> None:
    """Copy ``tensors`` into the corner of ``inputs``; the rest is padding."""
    for name, tensor in tensors.items():
        rows, length = tensor.shape
        inputs[name].zero_()
        inputs[name][:rows, :length].copy_(tensor)
        if name == "attention_mask":
            inputs[name][rows:, 0] = 1  # a row that attends to nothing would be NaN
