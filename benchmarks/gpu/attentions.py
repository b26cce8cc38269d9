"""Other attentions over texts that lie end to end, to compare with those of ``compress.benchmark.backends.varlen``."""

from functools import cache
from typing import Any

import torch
from torch.nn import functional

from compress.benchmark.backends.varlen import Attend, Attention, Packed, flash, grouped


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


ATTENTIONS: dict[str, Attention] = {"flash": flash, "nested": nested, "flex": flex, "grouped": grouped}
