"""A classifier's weights as plain arrays, laid out for the graph: ``[in, out]`` matrices, packed, scaled."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from compress.families.family import ACTIVATIONS
from compress.families.view import EncoderView, LayerView

Array = npt.NDArray[np.float32]

# From this hidden size on, splitting the output of packed query, key and value costs more than two more MatMuls.
SEPARATE_QKV_FROM = 512

HEAD_ACTIVATIONS = ACTIVATIONS | {"tanh": ("Tanh", {})}


@dataclass(frozen=True)
class Linear:
    """``x @ weight + bias``: weight ``[in, out]``, bias ``[out]``."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer norm: scale and shift ``[hidden]``."""

    scale: Array
    shift: Array


NO_LINEAR = Linear(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
NO_NORM = Norm(np.zeros(0, np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class LayerWeights:
    """One encoder layer; ``query`` is scaled by ``1/sqrt(head_size)``. ``heads`` and the FFN's width may be 0."""

    heads: int
    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: Norm
    ffn_input: Linear
    ffn_output: Linear
    ffn_norm: Norm
    # Keys and queries of relative positions, [rows, 1, heads, head_size], by row of the table of these positions; the
    # queries are scaled as ``query``.
    position_keys: Array | None = None
    position_queries: Array | None = None
    ffn_gate: Linear = NO_LINEAR  # gates that the activations are multiplied with (GeGLU)
    kind: str = "full_attention"  # or sliding_attention, which reads a window


@dataclass(frozen=True)
class EncoderWeights:
    """Everything the graph is built from; activations are named as in Hugging Face configs."""

    words: Array  # [vocabulary, hidden], as wide as the tables below
    positions: Array  # [positions, hidden]; the first token's first, or padding's before it where tokens are counted
    # It has no rows where the model has no table of positions.
    segments: Array | None  # [segments, hidden]; None where the graph does not read them
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    pooler: Linear
    pooler_activation: str
    classifier: Linear
    head_size: int
    norm_epsilon: float
    activation: str
    pad_id: int | None = None  # the padding, which positions leave out; None where every place has a position
    projection: Linear | None = None  # from the tables' width to the hidden size
    final_norm: Norm = NO_NORM  # for the last layer's output, where layers begin with their norms
    pooler_norm: Norm = NO_NORM  # after the head's activation
    reads_mean: bool = False  # whether the head reads the mean of all tokens; else the first one
    window: int = 0  # tokens to each side that sliding_attention reads
    # Rotary angles of query and key by the kind of attention, [positions, head_size / 2].
    rotary_angles: Mapping[str, Array] = field(default_factory=dict)


def read_weights(model: nn.Module) -> EncoderWeights:
    """The weights of ``model``, even or uneven, as fp32 arrays."""
    view = EncoderView(model)
    words, *tables = (array_of(table.weight) for table in view.tables)
    positions, *segments = tables or [words[:0]]
    if segments and "token_type_ids" not in view.family.inputs:  # all texts are of the first segment
        positions = positions + segments.pop()[0]
    pooler, classifier = map(linear_of, view.head)
    places = np.arange(view.longest, dtype=np.float32)
    return EncoderWeights(
        words=words,
        positions=positions[view.pad_id :] if view.family.counts_tokens else positions,
        segments=segments[0] if segments else None,
        pad_id=view.pad_id if view.family.counts_tokens else None,
        embedding_norm=norm_of(view.norm),
        projection=linear_of(view.projection) if view.projection else None,
        layers=tuple(map(layer_of, view.layers)),
        pooler=pooler,
        pooler_activation=view.family.head[0].activation or view.read("classifier_activation"),
        classifier=classifier,
        head_size=view.head_size,
        norm_epsilon=view.norm.eps,
        activation=view.read("hidden_act"),
        final_norm=norm_of(view.final_norm),
        pooler_norm=norm_of(view.head_norm),
        reads_mean=view.reads_mean,
        window=view.window,
        rotary_angles={kind: np.outer(places, array_of(values)) for kind, values in view.frequencies.items()},
    )


def layer_of(layer: LayerView) -> LayerWeights:
    """The weights of one encoder layer; fused projections are split."""
    queries, inputs = (3, 2) if layer.paths.fused else (1, 1)
    projections = [part for linear in layer.projections for part in _split(linear_of(linear), queries)]
    hidden_size = layer.attention_output.out_features
    without_heads = Linear(np.zeros((hidden_size, 0), np.float32), np.zeros(0, np.float32))
    query, key, value = projections or [without_heads] * 3
    ffn_input, *gates = _split(linear_of(layer.ffn_input), inputs)
    scale = np.float32(layer.head_size**-0.5)
    return LayerWeights(
        heads=layer.heads,
        query=Linear(query.weight * scale, query.bias * scale),
        key=key,
        value=value,
        attention_output=linear_of(layer.attention_output),
        attention_norm=norm_of(layer.attention_norm),
        ffn_input=ffn_input,
        ffn_output=linear_of(layer.ffn_output),
        ffn_norm=norm_of(layer.ffn_norm),
        ffn_gate=gates[0] if gates else NO_LINEAR,
        kind=layer.kind,
    )


def _split(fused: Linear, count: int) -> list[Linear]:
    """The linear layers whose outputs stand side by side in ``fused``."""
    weights, biases = np.split(fused.weight, count, axis=1), np.split(fused.bias, count)
    return [Linear(*part) for part in zip(weights, biases, strict=True)]


def array_of(weight: torch.Tensor) -> Array:
    """A tensor as a float32 array."""
    array: Array = weight.detach().float().cpu().numpy()
    return array


def linear_of(linear: nn.Linear) -> Linear:
    """A PyTorch linear layer as arrays; one without a bias has a bias of width 0."""
    bias = np.zeros(0, np.float32) if linear.bias is None else array_of(linear.bias)
    return Linear(np.ascontiguousarray(array_of(linear.weight).T), bias)


def norm_of(norm: nn.Module | None) -> Norm:
    """A PyTorch layer norm as arrays, its shift 0 where it has none; ``NO_NORM`` for None or another module."""
    if not isinstance(norm, nn.LayerNorm):
        return NO_NORM
    scale = array_of(norm.weight)
    return Norm(scale, np.zeros_like(scale) if norm.bias is None else array_of(norm.bias))


def pack(*parts: Linear) -> Linear:
    """Several projections of one input as one, whose outputs stand side by side."""
    weights, biases = [part.weight for part in parts], [part.bias for part in parts]
    return Linear(np.concatenate(weights, axis=1), np.concatenate(biases))
