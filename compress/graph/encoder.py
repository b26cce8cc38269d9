"""The parts that the graphs of all encoders share."""

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from compress.graph.weights import SEPARATE_QKV_FROM, EncoderWeights, LayerWeights, Linear, Norm, pack
from compress.graph.writer import GraphWriter, Shape, model_of
from compress.runtime.graph_file import OUTPUT


class EncoderGraph(GraphWriter):
    """Writes a classifier's graph from its weights; values are ``[sequence, batch, ...]``."""

    def __init__(self, weights: EncoderWeights) -> None:
        super().__init__()
        self._weights = weights

    def _model(self, inputs: Sequence[str]) -> onnx.ModelProto:
        """The model of all nodes written so far, from token ids to float32 logits ``[batch, labels]``."""
        reads: dict[str, Shape] = {name: (TensorProto.INT64, ["batch", "sequence"]) for name in inputs}
        logits: Shape = (TensorProto.FLOAT, ["batch", len(self._weights.classifier.bias)])
        return model_of(self.graph("bert-classifier", reads, {OUTPUT: logits}))

    def _attention(self, name: str, layer: LayerWeights, hidden: str, queries: str, mask: str) -> str:
        """Attention of the tokens ``queries`` to all of ``hidden``; without heads, the bias that is left of it."""
        if layer.heads == 0:
            return self.constant(f"{name}.bias", layer.attention_output.bias)
        query, key, value = self._projections(name, layer, hidden, queries)
        value = self.op("Transpose", value, name=f"{name}.value.transposed", perm=(1, 2, 0, 3))
        query = self.op("Transpose", query, name=f"{name}.query.transposed", perm=(1, 2, 0, 3))
        transposed = self.op("Transpose", key, name=f"{name}.key.transposed", perm=(1, 2, 3, 0))
        products = self.op("MatMul", query, transposed, name=f"{name}.products")
        scores = self._scores(name, layer, products, query, key, mask)
        shares = self.op("Softmax", scores, name=f"{name}.shares", axis=-1)
        context = self.op("MatMul", shares, value, name=f"{name}.context.heads")
        context = self.op("Transpose", context, name=f"{name}.context.transposed", perm=(2, 0, 1, 3))
        flat = self.constant(f"shape.flat.{layer.heads}", [0, 0, layer.heads * self._weights.head_size])
        context = self.op("Reshape", context, flat, name=f"{name}.context")
        return self._linear(f"{name}.output", layer.attention_output, context)

    def _scores(self, name: str, layer: LayerWeights, products: str, query: str, key: str, mask: str) -> str:  # noqa: ARG002
        """The masked attention scores, ``[batch, heads, sequence, sequence]``.

        ``products`` are the scaled products of ``query``, ``[batch, heads, sequence, head_size]``, and ``key``,
        ``[sequence, batch, heads, head_size]``.
        """
        return self.op("Add", products, mask, name=f"{name}.scores")

    def _projections(self, name: str, layer: LayerWeights, hidden: str, queries: str) -> tuple[str, ...]:
        """Query, key and value, ``[sequence, batch, heads, head_size]``; packed where they read the same values."""
        parts = {"query": layer.query, "key": layer.key, "value": layer.value}
        if layer.attention_output.weight.shape[1] >= SEPARATE_QKV_FROM:
            return tuple(
                self._by_head(f"{name}.{what}", part, queries if what == "query" else hidden, layer.heads)
                for what, part in parts.items()
            )
        if queries == hidden:
            return self._packed(f"{name}.qkv", tuple(parts.values()), hidden, layer.heads)
        query = self._by_head(f"{name}.query", layer.query, queries, layer.heads)
        return query, *self._packed(f"{name}.kv", (layer.key, layer.value), hidden, layer.heads)

    def _packed(self, name: str, parts: tuple[Linear, ...], value: str, heads: int) -> tuple[str, ...]:
        """Several projections of ``value`` by one MatMul."""
        together = self._by_head(name, pack(*parts), value, len(parts) * heads)
        count = len(parts)
        return tuple(self.ops("Split", together, name=f"{name}.split", outputs=count, axis=2, num_outputs=count))

    def _by_head(self, name: str, linear: Linear, value: str, heads: int) -> str:
        shape = self.constant(f"shape.{heads}", [0, 0, heads, self._weights.head_size])
        return self.op("Reshape", self._linear(name, linear, value), shape, name=f"{name}.heads")

    def _linear(self, name: str, linear: Linear, value: str) -> str:
        alone = linear.bias.size == 0
        weight = self.constant(f"{name}.weight", linear.weight)
        product = self.op("MatMul", value, weight, name=name if alone else f"{name}.product")
        return product if alone else self.op("Add", product, self.constant(f"{name}.bias", linear.bias), name=name)

    def _norm(self, name: str, norm: Norm, value: str) -> str:
        if norm.scale.size == 0:
            return value
        scale, shift = self.constant(f"{name}.scale", norm.scale), self.constant(f"{name}.shift", norm.shift)
        return self.op(
            "LayerNormalization", value, scale, shift, name=name, axis=-1, epsilon=self._weights.norm_epsilon
        )
