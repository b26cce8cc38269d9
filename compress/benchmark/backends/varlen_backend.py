"""A checkpoint without padding as a row of bench, on a GPU also in CUDA graphs, without a launch of each kernel.

A graph replays the same kernels on the same memory, so a batch is copied into the smallest room that holds it: with
some more tokens, which belong to no text, and some more texts, which have no tokens. Both cost little, since attention
skips empty texts and everything else is a product over tokens.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from compress.benchmark.backends.torch_modes import DTYPES, Capture, Replay, TorchBackend, bucket_of, capture_cuda
from compress.benchmark.backends.varlen import Packed, PackedBert, attention_for, pack
from compress.errors import CompressError
from compress.families import family_of
from compress.families.view import EncoderView
from compress.graph.weights import read_weights
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.runtime.encoding import Feeds

_TOKENS_AT_LEAST = 64
_STEPS_AN_OCTAVE_BITS = 3  # eight sizes from one power of two to the next: 6% more tokens on average

Size = tuple[int, int, int]  # tokens, texts, the longest text


class VarlenBackend(TorchBackend):
    """A checkpoint without padding, ``fp32``, ``bf16`` or ``fp16``, on ``cpu`` or ``cuda``, there in graphs too."""

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str, *, graphs: bool = False) -> None:
        self._graphs = graphs
        super().__init__(checkpoint, device, precision, "varlen-graphs" if graphs else "varlen")

    def _in_mode(self) -> Callable[[Feeds], torch.Tensor]:
        """The packed model's forward; ``self.model`` does not run, bench only counts operations by its shapes."""
        family = family_of(self.model.config)
        if family.builder != "post-norm":
            raise CompressError(
                f"torch-varlen: has no {family.name}; leave this row out, or measure it eager or compiled"
            )
        packed = PackedBert(read_weights(self.model), attention_for(self._device, self.precision))
        packed.to(device=torch.device(self._device), dtype=DTYPES[self.precision])
        forward: Callable[[Packed], torch.Tensor] = packed
        if self._graphs:
            forward = StaticTokens(packed, EncoderView(self.model).longest, capture_cuda)
        return lambda feeds: forward(pack(feeds, self._device))


def open_varlen(
    folder: str | Path, device: str, precision: str, *, graphs: bool = False, threads: int | None = None
) -> VarlenBackend:
    """The checkpoint in ``folder`` without padding, on ``threads`` CPU threads (default: PyTorch's own).

    The ``device`` is ``cpu``, where only ``fp32`` runs, or ``cuda``. With ``graphs``, CUDA graphs replay it, one for
    each size of batch.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return VarlenBackend(load_classifier(str(folder)), torch_device(device), precision, graphs=graphs)


def size_of(packed: Packed, longest: int) -> Size:
    """The smallest room for ``packed``, in a model that takes ``longest`` tokens at most.

    It always has at least one token more than the texts, since texts without tokens start behind the last token.
    """
    tokens, texts = len(packed.ids), len(packed.lengths)
    step = max(_TOKENS_AT_LEAST, 1 << max(tokens.bit_length() - 1 - _STEPS_AN_OCTAVE_BITS, 0))
    return (tokens // step + 1) * step, *bucket_of(texts, packed.longest, longest)


class StaticTokens:
    """Calls ``forward``, of a model that takes ``longest`` tokens, through a captured replay for each size.

    ``forward`` may read only the batch's tensors and ``longest``; ``capture`` makes its replay.
    """

    def __init__(self, forward: Callable[[Packed], torch.Tensor], longest: int, capture: Capture[Packed]) -> None:
        self._forward, self._longest, self._capture = forward, longest, capture
        self._captured: dict[Size, tuple[Packed, Replay]] = {}

    def __call__(self, packed: Packed) -> torch.Tensor:
        """Logits ``[batch, labels]``, good until the next call."""
        size = size_of(packed, self._longest)
        if size not in self._captured:
            room = _room(size, packed.ids.device)
            _fill(room, packed)
            self._captured[size] = room, self._capture(self._forward, room)
        room, replay = self._captured[size]
        _fill(room, packed)
        return replay()[: len(packed.lengths)]


def _room(size: Size, device: torch.device) -> Packed:
    tokens, texts, longest = size
    memory = torch.zeros(4 * tokens + texts + 1, dtype=torch.int32, device=device)
    ids, positions, segments, rows, starts = memory.split([tokens] * 4 + [texts + 1])
    return Packed(ids, positions, segments, rows, starts, np.zeros(0, np.int64), longest)


def _fill(room: Packed, packed: Packed) -> None:
    """Copy ``packed`` to the start of ``room``; older tokens behind it stay, since nothing reads their answers."""
    tokens, texts = len(packed.ids), len(packed.lengths)
    for name in ("ids", "positions", "segments", "texts"):
        getattr(room, name)[:tokens].copy_(getattr(packed, name))
    room.starts[: texts + 1].copy_(packed.starts)
    room.starts[texts + 1 :].fill_(tokens)
