"""Models to time: random weights of given widths, as they would be deployed."""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from transformers import PreTrainedModel

from compress.families import FAMILIES
from compress.graph.build import build_graph
from compress.graph.weights import Array, EncoderWeights, LayerWeights, Linear, Norm
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.modeling.widths import Architecture, Widths
from compress.quantization.dynamic import quantize_weights


def random_graph(architecture: Architecture, widths: Widths, *, int8: bool) -> onnx.ModelProto:
    """A model of these widths as it is deployed. What its weights are does not matter to its speed."""
    graph = build_graph(_random_weights(architecture, widths))
    return quantize_weights(graph) if int8 else graph


def random_model(architecture: Architecture, widths: Widths) -> PreTrainedModel:
    """The same in PyTorch."""
    family = FAMILIES[architecture.family]
    shape: dict[str, Any] = {
        "vocab_size": architecture.vocabulary,
        "max_position_embeddings": architecture.positions,
        "type_vocab_size": architecture.segments,
        "hidden_size": architecture.hidden_size,
        "num_labels": architecture.labels,
        "hidden_act": architecture.activation,
        "num_hidden_layers": len(widths.heads),
        # Transformers wants a number of heads that divides the hidden size; the numbers that count are per layer.
        "num_attention_heads": math.gcd(architecture.hidden_size, architecture.hidden_size // architecture.head_size),
        "attention_head_size": architecture.head_size,
        "heads_per_layer": list(widths.heads),
        "neurons_per_layer": list(widths.neurons),
    }
    with quiet_transformers():
        model: PreTrainedModel = pruned_classifier(family)(pruned_config(family)(**family.renamed(shape)))
    model.train(mode=False)
    return model


def _random_weights(architecture: Architecture, widths: Widths) -> EncoderWeights:
    base = _embeddings_and_head(architecture)
    rng = np.random.default_rng(0)
    layers = zip(widths.heads, widths.neurons, strict=True)
    return replace(base, layers=tuple(_layer(rng, architecture, heads, neurons) for heads, neurons in layers))


@lru_cache(maxsize=1)
def _embeddings_and_head(architecture: Architecture) -> EncoderWeights:
    rng, hidden = np.random.default_rng(0), architecture.hidden_size
    return EncoderWeights(
        words=_array(rng, architecture.vocabulary, hidden),
        positions=_array(rng, architecture.positions, hidden),
        segments=_array(rng, architecture.segments, hidden) if architecture.segments else None,
        embedding_norm=_norm(hidden),
        layers=(),
        pooler=_linear(rng, hidden, hidden),
        pooler_activation=str(FAMILIES[architecture.family].head[0].activation),
        classifier=_linear(rng, hidden, architecture.labels),
        head_size=architecture.head_size,
        norm_epsilon=1e-12,
        activation=architecture.activation,
    )


def _layer(rng: np.random.Generator, architecture: Architecture, heads: int, neurons: int) -> LayerWeights:
    """No two layers are alike: the runtime would keep equal weights once, and read them from a nearer cache."""
    hidden, context = architecture.hidden_size, heads * architecture.head_size
    return LayerWeights(
        heads=heads,
        query=_linear(rng, hidden, context),
        key=_linear(rng, hidden, context),
        value=_linear(rng, hidden, context),
        attention_output=_linear(rng, context, hidden),
        attention_norm=_norm(hidden),
        ffn_input=_linear(rng, hidden, neurons),
        ffn_output=_linear(rng, neurons, hidden),
        ffn_norm=_norm(hidden),
    )


def _array(rng: np.random.Generator, *shape: int) -> Array:
    """Small numbers, such as weights have: none so small that arithmetic on it is slow."""
    return 0.02 * rng.standard_normal(shape, dtype=np.float32)


def _linear(rng: np.random.Generator, rows: int, columns: int) -> Linear:
    return Linear(_array(rng, rows, columns), _array(rng, columns))


def _norm(width: int) -> Norm:
    return Norm(np.ones(width, np.float32), np.zeros(width, np.float32))
