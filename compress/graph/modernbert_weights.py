"""A ModernBERT's weights as plain arrays, laid out for its graph."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from compress.families.view import EncoderView
from compress.graph.weights import Array, LayerWeights, Linear, Norm, array_of, layer_of, linear_of, norm_of


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
    final_norm, head_norm = view.final_norm, view.head_norm
    assert final_norm is not None and head_norm is not None  # the family's table has both
    places = np.arange(view.longest, dtype=np.float32)
    return ModernBertWeights(
        words=array_of(view.words.weight),
        embedding_norm=norm_of(view.norm),
        layers=tuple(map(layer_of, view.layers)),
        final_norm=norm_of(final_norm),
        pooler=pooler,
        pooler_norm=norm_of(head_norm),
        classifier=classifier,
        head_size=view.head_size,
        norm_epsilon=view.norm.eps,
        activation=view.read("hidden_act"),
        pooler_activation=view.read("classifier_activation"),
        window=view.window,
        reads_mean=view.reads_mean,
        angles={kind: np.outer(places, array_of(each)) for kind, each in view.frequencies.items()},
    )
