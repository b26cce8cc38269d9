"""The fp32 graph, built from the weights rather than traced: every node is one that ONNX Runtime runs fast.

The layout follows measurements on CPUs. Values are ``[sequence, batch, ...]``, so that ONNX Runtime folds the
transposes around heads into the attention's MatMuls. Query, key and value are one packed MatMul, or three where they
are so wide that splitting costs more. Add and LayerNormalization are kept apart (fused they are slower). No shapes are
computed. After the last layer's keys and values only the first token, which the classifier reads, is computed.
"""

from collections.abc import Callable

import onnx
from torch import nn

from compress.families.view import EncoderView
from compress.graph import disentangled, weights
from compress.graph.modernbert import ModernBertGraph
from compress.graph.post_norm import PostNormGraph

# Builders by the name in a family's table.
BUILDERS: dict[str, Callable[[nn.Module], onnx.ModelProto]] = {
    "post-norm": lambda model: PostNormGraph(weights.read_weights(model)).build(),
    "modernbert": lambda model: ModernBertGraph(weights.read_weights(model)).build(),
    "disentangled": lambda model: disentangled.DisentangledGraph(*disentangled.read_weights(model)).build(),
}


def graph_of(model: nn.Module) -> onnx.ModelProto:
    """The classifier ``model`` as ONNX, by its family's builder: token ids in, float32 logits ``[batch, labels]``."""
    return BUILDERS[EncoderView(model).family.builder](model)
