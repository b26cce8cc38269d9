"""The fp32 graph, built from the weights rather than traced: every node is one that ONNX Runtime runs fast.

Laid out by what was measured on CPUs: values are ``[sequence, batch, ...]``, so that ONNX Runtime folds the transposes
around heads into the attention's products; query, key and value packed in one product, and apart where they are wide
enough that splitting it costs more; Add and LayerNormalization apart (fused they are slower); no shape arithmetic;
after the last layer's keys and values only the first token, the one that the classifier reads, is computed.
"""

from collections.abc import Callable

import onnx
from torch import nn

from compress.families.view import EncoderView
from compress.graph import disentangled, weights
from compress.graph.modernbert import ModernBertGraph
from compress.graph.post_norm import PostNormGraph

# By the name that a family's table gives.
BUILDERS: dict[str, Callable[[nn.Module], onnx.ModelProto]] = {
    "post-norm": lambda model: PostNormGraph(weights.read_weights(model)).build(),
    "modernbert": lambda model: ModernBertGraph(weights.read_weights(model)).build(),
    "disentangled": lambda model: disentangled.DisentangledGraph(*disentangled.read_weights(model)).build(),
}


def graph_of(model: nn.Module) -> onnx.ModelProto:
    """The classifier ``model`` as ONNX, by its family's builder: token ids in, float32 logits ``[batch, labels]``."""
    return BUILDERS[EncoderView(model).family.builder](model)
