"""A BERT classifier's weights as plain arrays, laid out for the graph: ``[in, out]`` matrices, packed, scaled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import BertForSequenceClassification

from compress.errors import CompressError
from compress.modeling.pruned import head_size_of

Array = npt.NDArray[np.float32]

# Names that Hugging Face configs use, as (ONNX operator, its attributes).
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}


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


@dataclass(frozen=True)
class BertWeights:
    """Everything the graph is built from."""

    words: Array
    positions: Array
    segments: Array
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    pooler: Linear
    classifier: Linear
    head_size: int
    norm_epsilon: float
    activation: str


def read_weights(model: BertForSequenceClassification) -> BertWeights:
    """The weights of ``model``, even or uneven, as fp32 arrays."""
    config, bert = model.config, model.bert
    assert bert.pooler is not None  # a sequence classifier always has one
    if config.hidden_act not in ACTIVATIONS:
        raise CompressError(f"export: activation {config.hidden_act!r} is not supported; {', '.join(ACTIVATIONS)} are")
    head_size = head_size_of(config)
    return BertWeights(
        words=_array(bert.embeddings.word_embeddings.weight),
        positions=_array(bert.embeddings.position_embeddings.weight),
        segments=_array(bert.embeddings.token_type_embeddings.weight),
        embedding_norm=_norm(bert.embeddings.LayerNorm),
        layers=tuple(_layer(layer, config.hidden_size, head_size) for layer in bert.encoder.layer),
        pooler=_linear(bert.pooler.dense),
        classifier=_linear(model.classifier),
        head_size=head_size,
        norm_epsilon=config.layer_norm_eps,
        activation=config.hidden_act,
    )


def _layer(layer: nn.Module, hidden_size: int, head_size: int) -> LayerWeights:
    attention = layer.get_submodule("attention.self")
    heads = getattr(attention, "num_attention_heads", 0)
    nothing = Linear(np.zeros((hidden_size, 0), np.float32), np.zeros(0, np.float32))
    query, key, value = (_linear(attention.get_submodule(name)) for name in ("query", "key", "value")) if heads else (
        nothing, nothing, nothing
    )  # fmt: skip
    scale = np.float32(head_size**-0.5)
    return LayerWeights(
        heads=heads,
        query=Linear(query.weight * scale, query.bias * scale),
        key=key,
        value=value,
        attention_output=_linear(layer.get_submodule("attention.output.dense")),
        attention_norm=_norm(layer.get_submodule("attention.output.LayerNorm")),
        ffn_input=_linear(layer.get_submodule("intermediate.dense")),
        ffn_output=_linear(layer.get_submodule("output.dense")),
        ffn_norm=_norm(layer.get_submodule("output.LayerNorm")),
    )


def _array(weight: torch.Tensor) -> Array:
    array: Array = weight.detach().float().cpu().numpy()
    return array


def _linear(linear: nn.Module) -> Linear:
    return Linear(np.ascontiguousarray(_array(linear.weight).T), _array(linear.bias))  # type: ignore[arg-type]


def _norm(norm: nn.Module) -> Norm:
    return Norm(_array(norm.weight), _array(norm.bias))  # type: ignore[arg-type]
