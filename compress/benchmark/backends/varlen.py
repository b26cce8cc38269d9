"""BERT without padding: a batch's tokens lie end to end, and attention keeps to each text.

A padded batch of real texts is about half padding, and every product is computed for it too. Here only attention knows
where one text ends and the next begins (variable-length attention, as in FlashAttention-2, Dao 2023). After the last
layer's attention only the first token of each text is computed, since the classifier reads nothing else.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

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


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch without its padding."""

    ids: torch.Tensor  # token ids [tokens], int32, one text after the other
    positions: torch.Tensor  # of each token in its text
    segments: torch.Tensor  # of each token
    texts: torch.Tensor  # the row of the batch that each token is of
    starts: torch.Tensor  # where each text starts, and where the last one ends, int32 [batch + 1]
    lengths: npt.NDArray[np.int64]  # tokens of each text
    longest: int  # the largest of them


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
    # All in one copy to the device, which takes as long for little as for much.
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
            same = [each[tokens].transpose(1, 2) for each in (query, key, value)]
            context[tokens] = functional.scaled_dot_product_attention(same[0], same[1], same[2]).transpose(1, 2)
        return context

    return attend


def attention_for(device: str, precision: str) -> Attention:
    """What serves best there."""
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
        self._head_size, self._epsilon = weights.head_size, weights.norm_epsilon
        kind, options = ACTIVATIONS[weights.activation]
        gelu = partial(functional.gelu, approximate=options.get("approximate", "none"))
        self._activate: Callable[[torch.Tensor], torch.Tensor] = torch.relu if kind == "Relu" else gelu
        self._heads = [layer.heads for layer in weights.layers]
        self._pool = {"tanh": torch.tanh, "relu": torch.relu, "gelu": functional.gelu}[weights.pooler_activation]
        self._projected = weights.projection is not None
        first = 0 if weights.pad_id is None else 1  # the row before is padding's
        segments = np.zeros((2, weights.words.shape[1]), np.float32) if weights.segments is None else weights.segments
        tables = {"words": weights.words, "positions": weights.positions[first:], "segments": segments}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table.copy()))
        self._hold(embedding_norm=weights.embedding_norm, pooler=weights.pooler, classifier=weights.classifier)
        if weights.projection is not None:
            self._hold(projection=weights.projection)
        for number, layer in enumerate(weights.layers):
            self._hold_layer(number, layer)

    def forward(self, packed: Packed) -> torch.Tensor:
        """Logits ``[batch, labels]``."""
        first = packed.starts[:-1]
        tokens = self.words[packed.ids] + self.positions[packed.positions] + self.segments[packed.segments]
        tokens = self._norm("embedding_norm", tokens)
        if self._projected:
            tokens = self._product("projection", tokens)
        attend = self._attention(packed)
        last = len(self._heads) - 1
        for number, heads in enumerate(self._heads):
            context = self._context(number, heads, tokens, attend)
            if number == last and self._first_token_only:
                context, tokens = context[first], tokens[first]
            tokens = self._norm(f"{number}_attention_norm", tokens + self._product(f"{number}_output", context))
            inner = self._activate(self._product(f"{number}_ffn_input", tokens))
            tokens = self._norm(f"{number}_ffn_norm", tokens + self._product(f"{number}_ffn_output", inner))
        pooled = self._pool(self._product("pooler", tokens if self._first_token_only else tokens[first]))
        return self._product("classifier", pooled)

    def _context(self, number: int, heads: int, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        if heads == 0:
            return tokens[:, :0]
        packed = self._product(f"{number}_qkv", tokens).view(len(tokens), 3, heads, self._head_size)
        return attend(*packed.unbind(1)).reshape(len(tokens), heads * self._head_size)

    def _product(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        return torch.addmm(getattr(self, f"{name}_bias"), rows, getattr(self, f"{name}_weight"))

    def _norm(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        scale, shift = getattr(self, f"{name}_scale"), getattr(self, f"{name}_shift")
        return functional.layer_norm(rows, scale.shape, scale, shift, self._epsilon)

    def _hold_layer(self, number: int, layer: LayerWeights) -> None:
        # Every attention here scales scores by 1/sqrt(head_size) itself, which the graph's query already holds.
        unscaled = np.float32(self._head_size**0.5)
        query = Linear(layer.query.weight * unscaled, layer.query.bias * unscaled)
        projections = query, layer.key, layer.value
        qkv = Linear(np.hstack([each.weight for each in projections]), np.hstack([each.bias for each in projections]))
        parts: dict[str, Linear | Norm] = {
            "qkv": qkv,
            "output": layer.attention_output,
            "attention_norm": layer.attention_norm,
        }
        parts |= {"ffn_input": layer.ffn_input, "ffn_output": layer.ffn_output, "ffn_norm": layer.ffn_norm}
        self._hold(**{f"{number}_{name}": part for name, part in parts.items()})

    def _hold(self, **parts: Linear | Norm) -> None:
        for name, part in parts.items():
            for of, array in asdict(part).items():  # copies
                self.register_buffer(f"{name}_{of}", torch.from_numpy(array))
