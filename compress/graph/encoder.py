"""What the graphs of all encoders are made of."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import onnx
from onnx import TensorProto

from compress.graph.modernbert_weights import ModernBertWeights
from compress.graph.weights import EncoderWeights, Linear, Norm
from compress.graph.writer import GraphWriter, Shape, model_of
from compress.runtime.graph_file import OUTPUT

Weights = TypeVar("Weights", EncoderWeights, ModernBertWeights)


class EncoderGraph(GraphWriter, Generic[Weights]):
    """Writes a classifier's graph from its weights; values are ``[sequence, batch, ...]``."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights: Weights = weights

    def _model(self, inputs: Sequence[str]) -> onnx.ModelProto:
        """All that was written, from token ids to float32 logits ``[batch, labels]``."""
        reads: dict[str, Shape] = {name: (TensorProto.INT64, ["batch", "sequence"]) for name in inputs}
        logits: Shape = (TensorProto.FLOAT, ["batch", len(self._weights.classifier.bias)])
        return model_of(self.graph("bert-classifier", reads, {OUTPUT: logits}))

    def _context(self, name: str, scores: str, value: str, heads: int) -> str:
        """What is read of ``value`` ``[batch, heads, sequence, size]``, as ``[sequence, batch, heads x size]``."""
        shares = self.op("Softmax", scores, name=f"{name}.shares", axis=-1)
        context = self.op("MatMul", shares, value, name=f"{name}.context.heads")
        context = self.op("Transpose", context, name=f"{name}.context.transposed", perm=(2, 0, 1, 3))
        flat = self.constant(f"shape.flat.{heads}", [0, 0, heads * self._weights.head_size])
        return self.op("Reshape", context, flat, name=f"{name}.context")

    def _by_head(self, name: str, linear: Linear, value: str, heads: int) -> str:
        shape = self.constant(f"shape.{heads}", [0, 0, heads, self._weights.head_size])
        return self.op("Reshape", self._linear(name, linear, value), shape, name=f"{name}.heads")

    def _linear(self, name: str, linear: Linear, value: str) -> str:
        alone = linear.bias.size == 0
        weight = self.constant(f"{name}.weight", linear.weight)
        product = self.op("MatMul", value, weight, name=name if alone else f"{name}.product")
        return product if alone else self.op("Add", product, self.constant(f"{name}.bias", linear.bias), name=name)

    def _norm(self, name: str, norm: Norm, value: str) -> str:
        scale, shift = self.constant(f"{name}.scale", norm.scale), self.constant(f"{name}.shift", norm.shift)
        return self.op(
            "LayerNormalization", value, scale, shift, name=name, axis=-1, epsilon=self._weights.norm_epsilon
        )
