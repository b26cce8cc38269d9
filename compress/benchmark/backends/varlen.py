"""BERT without padding: a batch's tokens lie end to end, and attention keeps to each text.

A padded batch of real texts is about half padding, and every product is computed for it too. Here only attention knows
where one text ends and the next begins (variable-length attention, as in FlashAttention-2, Dao 2023). After the last
layer's attention only the first token of each text is computed, since the classifier reads nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from compress.errors import CompressError
from compress.families.family import ACTIVATIONS
from compress.graph.weights import EncoderWeights, LayerWeights, Linear, Norm
from compress.runtime.encoding import Feeds

# Query, key and value, each [tokens, heads, head_size], to the context of the same shape.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Attention = Callable[["Packed"], Attend]
Activation = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch without its padding."""

    ids: torch.Tensor  # token ids [tokens], int32, one text after the other
    positions: torch.Tensor  # each token's position in its text, int32 [tokens]
    segments: torch.Tensor  # each token's segment id, int32 [tokens]
    texts: torch.Tensor  # the row of the batch that each token belongs to, int32 [tokens]
    starts: torch.Tensor  # where each text starts, and where the last one ends, int32 [batch + 1]
    lengths: npt.NDArray[np.int64]  # tokens of each text
    longest: int  # the largest of ``lengths``


def pack(feeds: Feeds, device: str) -> Packed:
    """The tokens of ``feeds`` that the attention mask keeps; each text needs at least one."""
    mask = feeds["attention_mask"].astype(bool)
    batch, width = mask.shape
    lengths = mask.sum(axis=1)
    if not lengths.all():
        raise CompressError(f"unpadded attention: text {int(lengths.argmin())} of the batch has no tokens")
    kept = np.flatnonzero(mask)
    text = np.repeat(np.arange(batch), lengths)
    id_and_segment = [feeds[name].ravel()[kept] for name in ("input_ids", "token_type_ids")]
    arrays = [id_and_segment[0], kept - text * width, id_and_segment[1], text, [0], np.cumsum(lengths)]
    # In one copy to the device: a small copy takes as long as a large one.
    moved = torch.from_numpy(np.concatenate(arrays).astype(np.int32))
    ids, places, segments, rows, starts = moved.to(device).split([len(kept)] * 4 + [batch + 1])
    return Packed(ids, places, segments, rows, starts, lengths, int(lengths.max()))


def flash(packed: Packed) -> Attend:
    """FlashAttention's kernel for variable lengths: CUDA, fp16 or bf16, PyTorch 2.10 or newer."""
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = packed.starts, packed.longest

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        context = varlen_attn(query, key, value, starts, starts, longest, longest)
        assert isinstance(context, torch.Tensor)  # a pair only where more is asked for
        return context

    return attend


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
            q, k, v = (
                each[tokens].transpose(1, 2) for each in (query, key, value)
            )  # [texts, heads, length, head size]
            context[tokens] = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return context

    return attend


def attention_for(device: str, precision: str) -> Attention:
    """The fastest attention for a device and a precision."""
    return flash if device == "cuda" and precision != "fp32" else grouped


class PackedBert(nn.Module):
    """A classifier over packed tokens, of any widths, from the weights that graphs are built from.

    ``attention`` is :func:`flash`, :func:`grouped` or another one. With ``first_token_only`` the last layer computes no
    more than the classifier reads, and the logits are the same.
    """

    words: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor

    def __init__(self, weights: EncoderWeights, attention: Attention, *, first_token_only: bool = True) -> None:
        super().__init__()
        self._attention = attention
        self._first_token_only = first_token_only
        kind, options = ACTIVATIONS[weights.activation]
        gelu = partial(functional.gelu, approximate=options.get("approximate", "none"))
        activate: Activation = torch.relu if kind == "Relu" else gelu
        self._pool = {"tanh": torch.tanh, "relu": torch.relu, "gelu": functional.gelu}[weights.pooler_activation]
        first = 0 if weights.pad_id is None else 1  # the row before is padding's
        segments = np.zeros((2, weights.words.shape[1]), np.float32) if weights.segments is None else weights.segments
        tables = {"words": weights.words, "positions": weights.positions[first:], "segments": segments}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table.copy()))
        self.embedding_norm = _layer_norm(weights.embedding_norm, weights.norm_epsilon)
        self.projection = nn.Identity() if weights.projection is None else _Product(weights.projection)
        self.layers = nn.ModuleList(
            _PackedLayer(layer, weights.head_size, weights.norm_epsilon, activate) for layer in weights.layers
        )
        self.pooler, self.classifier = _Product(weights.pooler), _Product(weights.classifier)

    def forward(self, packed: Packed) -> torch.Tensor:
        """Logits ``[batch, labels]``."""
        first = packed.starts[:-1]
        tokens = self.words[packed.ids] + self.positions[packed.positions] + self.segments[packed.segments]
        tokens = self.projection(self.embedding_norm(tokens))
        attend = self._attention(packed)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, attend, first if number == last and self._first_token_only else None)
        pooled = self._pool(self.pooler(tokens if self._first_token_only else tokens[first]))
        return cast(torch.Tensor, self.classifier(pooled))


class _PackedLayer(nn.Module):
    """One layer, from tokens ``[tokens, hidden]`` to the same shape, or to the ``rows`` of it that are asked for."""

    def __init__(self, layer: LayerWeights, head_size: int, epsilon: float, activate: Activation) -> None:
        super().__init__()
        self._heads, self._head_size, self._activate = layer.heads, head_size, activate
        # Every attention here scales scores by 1/sqrt(head_size) itself, which the graph's query already holds.
        unscaled = np.float32(head_size**0.5)
        query = Linear(layer.query.weight * unscaled, layer.query.bias * unscaled)
        projections = query, layer.key, layer.value
        self.qkv = _Product(
            Linear(np.hstack([each.weight for each in projections]), np.hstack([each.bias for each in projections]))
        )
        self.output = _Product(layer.attention_output)
        self.attention_norm = _layer_norm(layer.attention_norm, epsilon)
        self.ffn_input, self.ffn_output = _Product(layer.ffn_input), _Product(layer.ffn_output)
        self.ffn_norm = _layer_norm(layer.ffn_norm, epsilon)

    def forward(self, tokens: torch.Tensor, attend: Attend, rows: torch.Tensor | None) -> torch.Tensor:
        context = tokens[:, :0]
        if self._heads:
            qkv = self.qkv(tokens).view(len(tokens), 3, self._heads, self._head_size)
            context = attend(*qkv.unbind(1)).flatten(1)
        if rows is not None:
            context, tokens = context[rows], tokens[rows]
        tokens = self.attention_norm(tokens + self.output(context))
        inner = self._activate(self.ffn_input(tokens))
        return cast(torch.Tensor, self.ffn_norm(tokens + self.ffn_output(inner)))


class _Product(nn.Module):
    """``rows @ weight + bias``: weight ``[in, out]``, bias ``[out]``."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(np.copy(linear.weight)))
        self.register_buffer("bias", torch.from_numpy(np.copy(linear.bias)))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, rows, self.weight)


def _layer_norm(norm: Norm, epsilon: float) -> nn.LayerNorm:
    module = nn.LayerNorm(len(norm.scale), epsilon).requires_grad_(False)
    module.load_state_dict({"weight": torch.tensor(norm.scale), "bias": torch.tensor(norm.shift)})
    return module
