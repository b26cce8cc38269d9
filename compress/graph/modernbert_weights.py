"""A ModernBERT's weights as plain arrays, laid out for its graph."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from compress.families.view import EncoderView, LayerView
from compress.graph.weights import Array, Linear, Norm, array_of, linear_of, norm_of


@dataclass(frozen=True)
class LayerWeights:
    """One layer; ``query`` is scaled by ``1/sqrt(head_size)``. ``heads`` and the FFN's width may be 0."""

    heads: int
    kind: str  # of attention: full_attention or sliding_attention
    attention_norm: Norm | None  # the first layer has none
    query_key_value: tuple[Linear, ...]  # none without heads
    attention_output: Linear
    ffn_norm: Norm
    ffn_input: Linear
    ffn_gate: Linear
    ffn_output: Linear


@dataclass(frozen=True)
class ModernBertWeights:
    """Everything the graph is built from; a linear layer without a bias has one of width 0."""

    words: Array  # [vocabulary, hidden]
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    final_norm: Norm
    pooler: Linear
    pooler_norm: Norm
    classifier: Linear
    head_size: int
    norm_epsilon: float
    activation: str
    pooler_activation: str
    window: int  # tokens to each side that sliding_attention reads
    reads_mean: bool  # whether the head reads the mean of all tokens; else the first one
    angles: dict[str, Array]  # by the kind of attention, those of each position, [positions, head_size / 2]


def read_weights(model: nn.Module) -> ModernBertWeights:
    """The weights of ``model``, even or uneven, as fp32 arrays."""
    view = EncoderView(model)
    pooler, classifier = map(linear_of, view.head)
    rotary = model.get_submodule("model.rotary_emb")
    final_norm, head_norm = view.final_norm, view.head_norm
    assert final_norm is not None and head_norm is not None  # the family's table has both
    places = np.arange(view.longest, dtype=np.float32)
    return ModernBertWeights(
        words=array_of(view.words.weight),
        embedding_norm=norm_of(view.norm),
        layers=tuple(map(_layer, view.layers)),
        final_norm=norm_of(final_norm),
        pooler=pooler,
        pooler_norm=norm_of(head_norm),
        classifier=classifier,
        head_size=view.head_size,
        norm_epsilon=view.norm.eps,
        activation=view.read("hidden_act"),
        pooler_activation=view.read("classifier_activation"),
        window=view.config.sliding_window,
        reads_mean=view.reads_mean,
        angles={
            kind: np.outer(places, array_of(getattr(rotary, f"{kind}_inv_freq")))
            for kind in set(view.config.layer_types)
        },
    )


def _layer(layer: LayerView) -> LayerWeights:
    scale = np.float32(layer.head_size**-0.5)
    parts = _parts(linear_of(layer.query), 3) if layer.heads else ()
    ffn_input, ffn_gate = _parts(linear_of(layer.ffn_input), 2)
    return LayerWeights(
        heads=layer.heads,
        kind=str(layer.module.attention_type),
        attention_norm=norm_of(layer.attention_norm) if isinstance(layer.attention_norm, nn.LayerNorm) else None,
        query_key_value=(Linear(parts[0].weight * scale, parts[0].bias * scale), *parts[1:]) if parts else (),
        attention_output=linear_of(layer.attention_output),
        ffn_norm=norm_of(layer.ffn_norm),
        ffn_input=ffn_input,
        ffn_gate=ffn_gate,
        ffn_output=linear_of(layer.ffn_output),
    )


def _parts(fused: Linear, count: int) -> tuple[Linear, ...]:
    """The linear layers whose outputs stand side by side in ``fused``."""
    weights, biases = np.split(fused.weight, count, axis=1), np.split(fused.bias, count)
    return tuple(Linear(*part) for part in zip(weights, biases, strict=True))
