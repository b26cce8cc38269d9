"""Models to time: random weights of given widths, as they would be deployed."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from transformers import BertForSequenceClassification

from compress.graph.build import build_graph
from compress.graph.weights import Array, BertWeights, LayerWeights, Linear, Norm
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import PrunedBertForSequenceClassification, head_size_of
from compress.modeling.pruned_config import PrunedBertConfig
from compress.quantization.dynamic import quantize_weights


@dataclass(frozen=True)
class Architecture:
    """All that a BERT's latency depends on, but the widths of its layers."""

    hidden_size: int
    head_size: int
    vocabulary: int
    positions: int
    segments: int
    labels: int
    activation: str

    @classmethod
    def of(cls, model: BertForSequenceClassification) -> "Architecture":
        """That of ``model``, even or uneven."""
        config = model.config
        return cls(
            hidden_size=config.hidden_size,
            head_size=head_size_of(config),
            vocabulary=config.vocab_size,
            positions=config.max_position_embeddings,
            segments=config.type_vocab_size,
            labels=model.classifier.out_features,
            activation=config.hidden_act,
        )


@dataclass(frozen=True)
class Widths:
    """Attention heads and FFN neurons of each layer, the last layer last; each may be 0."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]

    @classmethod
    def even(cls, layers: int, heads: int, neurons: int) -> "Widths":
        """Layers that are all alike."""
        return cls((heads,) * layers, (neurons,) * layers)

    @classmethod
    def of(cls, model: BertForSequenceClassification) -> "Widths":
        """Those of ``model``."""
        config, layers = model.config, model.config.num_hidden_layers
        heads = getattr(config, "heads_per_layer", None) or [config.num_attention_heads] * layers
        neurons = getattr(config, "neurons_per_layer", None) or [config.intermediate_size] * layers
        return cls(tuple(heads), tuple(neurons))

    @property
    def inhabited(self) -> "Widths":
        """Without the layers that have neither heads nor neurons, which a cut leaves out of the model."""
        kept = [pair for pair in zip(self.heads, self.neurons, strict=True) if any(pair)]
        return Widths(tuple(heads for heads, _ in kept), tuple(neurons for _, neurons in kept))


def random_graph(architecture: Architecture, widths: Widths, *, int8: bool) -> onnx.ModelProto:
    """A model of these widths as it is deployed. What its weights are does not matter to its speed."""
    graph = build_graph(_random_weights(architecture, widths))
    return quantize_weights(graph) if int8 else graph


def random_model(architecture: Architecture, widths: Widths) -> BertForSequenceClassification:
    """The same in PyTorch."""
    shape: dict[str, Any] = {
        "vocab_size": architecture.vocabulary,
        "max_position_embeddings": architecture.positions,
        "type_vocab_size": architecture.segments,
        "hidden_size": architecture.hidden_size,
        "num_labels": architecture.labels,
        "hidden_act": architecture.activation,
        "num_hidden_layers": len(widths.heads),
        "attention_head_size": architecture.head_size,
        # Transformers wants a number of heads that divides the hidden size; the numbers that count are per layer.
        "num_attention_heads": math.gcd(architecture.hidden_size, architecture.hidden_size // architecture.head_size),
        "heads_per_layer": list(widths.heads),
        "neurons_per_layer": list(widths.neurons),
    }
    with quiet_transformers():
        model = PrunedBertForSequenceClassification(PrunedBertConfig(**shape))
    model.train(mode=False)
    return model


def parameters(architecture: Architecture, widths: Widths) -> int:
    """Weights of a model of these widths, without its empty layers."""
    hidden, head_size = architecture.hidden_size, architecture.head_size
    rows = architecture.vocabulary + architecture.positions + architecture.segments
    total = (rows + 2) * hidden + (hidden + 1) * hidden + (hidden + 1) * architecture.labels
    for heads, neurons in zip(widths.inhabited.heads, widths.inhabited.neurons, strict=True):
        context = heads * head_size
        total += 3 * (hidden + 1) * context + (context + 1) * hidden
        total += (hidden + 1) * neurons + (neurons + 1) * hidden + 4 * hidden
    return total


def _random_weights(architecture: Architecture, widths: Widths) -> BertWeights:
    base = _embeddings_and_head(architecture)
    rng = np.random.default_rng(0)
    layers = zip(widths.heads, widths.neurons, strict=True)
    return replace(base, layers=tuple(_layer(rng, architecture, heads, neurons) for heads, neurons in layers))


@lru_cache(maxsize=1)
def _embeddings_and_head(architecture: Architecture) -> BertWeights:
    rng, hidden = np.random.default_rng(0), architecture.hidden_size
    return BertWeights(
        words=_array(rng, architecture.vocabulary, hidden),
        positions=_array(rng, architecture.positions, hidden),
        segments=_array(rng, architecture.segments, hidden),
        embedding_norm=_norm(hidden),
        layers=(),
        pooler=_linear(rng, hidden, hidden),
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
