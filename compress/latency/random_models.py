"""Models to time: random weights of given widths, as they would be deployed. Weights do not matter to speed."""

import math
from typing import Any

import onnx
from transformers import PreTrainedModel

from compress.families import FAMILIES
from compress.graph.build import build_graph
from compress.graph.weights import read_weights
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.modeling.widths import Architecture, Widths
from compress.quantization.dynamic import quantize_weights


def random_graph(architecture: Architecture, widths: Widths, *, int8: bool) -> onnx.ModelProto:
    """A graph of these widths."""
    graph = build_graph(read_weights(random_model(architecture, widths)))
    return quantize_weights(graph) if int8 else graph


def random_model(architecture: Architecture, widths: Widths) -> PreTrainedModel:
    """The same in PyTorch. No two layers are alike: the runtime would keep equal weights once."""
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
        "intermediate_size": 1,  # of the layers that the class makes first and then replaces
    }
    with quiet_transformers():
        model: PreTrainedModel = pruned_classifier(family)(pruned_config(family)(**family.renamed(shape)))
    model.train(mode=False)
    return model
