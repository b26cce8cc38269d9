"""BERT without padding: a batch's tokens lie end to end, and attention keeps to each text.

A padded batch of real texts is about half padding, and every product is computed for it too. Here only attention knows
where one text ends and the next begins (variable-length attention, as in FlashAttention-2, Dao 2023). After the last
layer's attention only the first token of each text is computed, since the classifier reads nothing else.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from compress.benchmark.backends.torch_modes import DTYPES, TorchBackend
from compress.benchmark.backends.varlen_attention import ATTENTIONS, Attend, Packed, attention_for, pack
from compress.graph.weights import ACTIVATIONS, Array, EncoderWeights, LayerWeights, Linear, Norm, read_weights
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.runtime.encoding import Feeds


class PackedBert(nn.Module):
    """A classifier over packed tokens, of any widths, from the weights that graphs are built from.

    Args:
        weights: of a classifier, even or uneven.
        attention: a name in :data:`ATTENTIONS`.
        first_token_only: whether the last layer computes no more than the classifier reads; the logits are the same.
    """

    words: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor

    def __init__(self, weights: EncoderWeights, attention: str, *, first_token_only: bool = True) -> None:
        super().__init__()
        self._attention = ATTENTIONS[attention]
        self._first_token_only = first_token_only
        self._head_size, self._epsilon = weights.head_size, weights.norm_epsilon
        self._approximate = ACTIVATIONS[weights.activation][1].get("approximate", "none")
        self._relu = ACTIVATIONS[weights.activation][0] == "Relu"
        self._heads = [layer.heads for layer in weights.layers]
        self._pool = {"tanh": torch.tanh, "relu": torch.relu}[weights.pooler_activation]
        segments = np.zeros((2, weights.words.shape[1]), np.float32) if weights.segments is None else weights.segments
        tables = {"words": weights.words, "positions": weights.positions, "segments": segments}
        for name, table in tables.items():
            self._hold(name, table)
        self._hold_norm("embedding_norm", weights.embedding_norm)
        for number, layer in enumerate(weights.layers):
            self._hold_layer(number, layer)
        self._hold_linear("pooler", weights.pooler)
        self._hold_linear("classifier", weights.classifier)

    def forward(self, packed: Packed) -> torch.Tensor:
        """Logits ``[batch, labels]``."""
        first = packed.starts[:-1]
        tokens = self.words[packed.ids] + self.positions[packed.positions] + self.segments[packed.segments]
        tokens = self._norm("embedding_norm", tokens)
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

    def _activate(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.relu(rows) if self._relu else functional.gelu(rows, approximate=self._approximate)

    def _hold_layer(self, number: int, layer: LayerWeights) -> None:
        # Every attention here scales scores by 1/sqrt(head_size) itself, which the graph's query already holds.
        unscaled = np.float32(self._head_size**0.5)
        query = Linear(layer.query.weight * unscaled, layer.query.bias * unscaled)
        parts = (query, layer.key, layer.value)
        qkv = Linear(np.hstack([part.weight for part in parts]), np.hstack([part.bias for part in parts]))
        products = {"qkv": qkv, "output": layer.attention_output}
        products |= {"ffn_input": layer.ffn_input, "ffn_output": layer.ffn_output}
        for name, linear in products.items():
            self._hold_linear(f"{number}_{name}", linear)
        self._hold_norm(f"{number}_attention_norm", layer.attention_norm)
        self._hold_norm(f"{number}_ffn_norm", layer.ffn_norm)

    def _hold_linear(self, name: str, linear: Linear) -> None:
        self._hold(f"{name}_weight", linear.weight)
        self._hold(f"{name}_bias", linear.bias)

    def _hold_norm(self, name: str, norm: Norm) -> None:
        self._hold(f"{name}_scale", norm.scale)
        self._hold(f"{name}_shift", norm.shift)

    def _hold(self, name: str, array: Array) -> None:
        self.register_buffer(name, torch.from_numpy(array.copy()))


class VarlenBackend(TorchBackend):
    """A checkpoint without padding: ``fp32``, ``bf16`` or ``fp16`` weights, ``cpu`` or ``cuda``."""

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str) -> None:
        super().__init__(checkpoint, device, precision, "varlen")

    def _in_mode(self) -> Callable[[Feeds], torch.Tensor]:
        """``self.model`` stays where it is: bench counts operations by its shapes, and it does not run."""
        packed = PackedBert(read_weights(self.model), attention_for(self._device, self.precision))
        packed.to(device=torch.device(self._device), dtype=DTYPES[self.precision])
        return lambda feeds: packed(pack(feeds, self._device))


def open_varlen(folder: str | Path, device: str, precision: str, threads: int | None = None) -> VarlenBackend:
    """The checkpoint in ``folder`` without padding, in ``precision``, on some CPU threads (default: PyTorch's own)."""
    if threads is not None:
        torch.set_num_threads(threads)
    return VarlenBackend(load_classifier(str(folder)), torch_device(device), precision)
