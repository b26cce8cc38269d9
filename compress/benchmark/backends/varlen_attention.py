"""Attention over texts that lie end to end without padding: PyTorch's ways, each a function of a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from compress.errors import CompressError
from compress.runtime.encoding import Feeds

# Query, key and value, each [tokens, heads, head_size], to the context of the same shape.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch without its padding.

    Attributes:
        ids: token ids ``[tokens]``, int64, one text after the other.
        positions: of each token in its text.
        segments: of each token.
        texts: the row of the batch that each token is of.
        starts: where each text starts, and where the last one ends, int32 ``[batch + 1]``.
        lengths: tokens of each text.
        longest: the largest of them.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    texts: torch.Tensor
    starts: torch.Tensor
    lengths: npt.NDArray[np.int64]
    longest: int


def pack(feeds: Feeds, device: str) -> Packed:
    """The tokens of ``feeds`` that the attention mask keeps; each text needs at least one."""
    texts, positions = np.nonzero(feeds["attention_mask"])
    lengths = np.bincount(texts, minlength=len(feeds["attention_mask"]))
    if not lengths.all():
        raise CompressError(f"unpadded attention: text {int(lengths.argmin())} of the batch has no tokens")
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    kept = (feeds["input_ids"][texts, positions], positions, feeds["token_type_ids"][texts, positions], texts)
    ids, place, segments, rows = torch.from_numpy(np.stack(kept)).to(device).unbind()  # one copy instead of four
    return Packed(ids, place, segments, rows, torch.from_numpy(starts).to(device), lengths, int(lengths.max()))


def flash(packed: Packed) -> Attend:
    """FlashAttention's kernel for variable lengths: CUDA, fp16 or bf16, PyTorch 2.10 or newer."""
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = packed.starts, packed.longest

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        context = varlen_attn(query, key, value, starts, starts, longest, longest)
        assert isinstance(context, torch.Tensor)  # a pair only where more is asked for
        return context

    return attend


def nested(packed: Packed) -> Attend:
    """Nested tensors in the jagged layout, whose scaled dot product attention picks a kernel itself."""
    offsets, shortest, longest = packed.starts.long(), int(packed.lengths.min()), packed.longest

    def jagged(tokens: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.nested.nested_tensor_from_jagged(
            tokens.contiguous(), offsets, min_seqlen=shortest, max_seqlen=longest
        )
        return made.transpose(1, 2)

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        context = functional.scaled_dot_product_attention(jagged(query), jagged(key), jagged(value))
        return context.transpose(1, 2).contiguous().values()

    return attend


def flex(packed: Packed) -> Attend:
    """FlexAttention with a document mask, compiled on a GPU; on a CPU it runs as it is written, slowly."""
    from torch.nn.attention.flex_attention import create_block_mask

    texts, tokens = packed.texts, len(packed.texts)
    on_gpu = texts.is_cuda

    def same_text(_: Any, __: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return texts[query] == texts[key]

    # Uncompiled, making the mask would hold [tokens, tokens] at once.
    mask = create_block_mask(same_text, None, None, tokens, tokens, device=texts.device, _compile=on_gpu)
    run = _flex_attention(on_gpu)

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        heads_first = [each.transpose(0, 1).unsqueeze(0) for each in (query, key, value)]
        context: torch.Tensor = run(*heads_first, block_mask=mask)
        return context[0].transpose(0, 1)

    return attend


@cache
def _flex_attention(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def grouped(packed: Packed) -> Attend:
    """Plain attention over the texts of each length together: any device and precision."""
    starts = packed.starts[:-1].long()
    groups = []
    for length in np.unique(packed.lengths).tolist():
        rows = torch.from_numpy(np.flatnonzero(packed.lengths == length)).to(starts.device)
        groups.append(starts[rows, None] + torch.arange(length, device=starts.device))

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        context = torch.empty_like(query)
        for tokens in groups:
            same = [each[tokens].transpose(1, 2) for each in (query, key, value)]
            context[tokens] = functional.scaled_dot_product_attention(same[0], same[1], same[2]).transpose(1, 2)
        return context

    return attend


ATTENTIONS: dict[str, Callable[[Packed], Attend]] = {"flash": flash, "nested": nested, "flex": flex, "grouped": grouped}


def attention_for(device: str, precision: str) -> str:
    """The name in :data:`ATTENTIONS` of what serves best there."""
    return "flash" if device == "cuda" and precision != "fp32" else "grouped"
