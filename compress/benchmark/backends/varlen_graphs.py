"""Packed batches in CUDA graphs: neither padding nor a launch of each kernel.

A graph replays the same kernels on the same memory, so a batch is laid into the smallest room that holds it: some more
tokens, which belong to no text, and some more texts, which have no tokens. Both cost little, since attention skips
empty texts and everything else is a product over tokens.
"""

from collections.abc import Callable

import numpy as np
import torch

from compress.benchmark.backends.torch_modes import LENGTHS, Capture, Replay
from compress.benchmark.backends.varlen import Packed

_TOKENS_AT_LEAST = 64
_STEPS_AN_OCTAVE_BITS = 3  # eight sizes from one power of two to the next: 6% more tokens on average

Size = tuple[int, int, int]  # tokens, texts, the longest text


def size_of(packed: Packed, longest: int) -> Size:
    """The smallest room for ``packed``, in a model that takes ``longest`` tokens at most.

    There is always a token more than the texts have, since texts without tokens start behind the last of them.
    """
    tokens, texts = len(packed.ids), len(packed.lengths)
    step = max(_TOKENS_AT_LEAST, 1 << max(tokens.bit_length() - 1 - _STEPS_AN_OCTAVE_BITS, 0))
    up_to = min((length for length in LENGTHS if length >= packed.longest), default=packed.longest)
    return (tokens // step + 1) * step, 1 << (texts - 1).bit_length(), max(packed.longest, min(up_to, longest))


class StaticTokens:
    """Calls ``forward``, of a model that takes ``longest`` tokens, through a captured replay for each size.

    ``forward`` may read of its batch what lies on the device, and ``longest``; ``capture`` makes the replay of it.
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
    """Copy ``packed`` to the start of ``room``; what is behind it stays, since nothing reads its answers."""
    tokens, texts = len(packed.ids), len(packed.lengths)
    for name in ("ids", "positions", "segments", "texts"):
        getattr(room, name)[:tokens].copy_(getattr(packed, name))
    room.starts[: texts + 1].copy_(packed.starts)
    room.starts[texts + 1 :].fill_(tokens)
