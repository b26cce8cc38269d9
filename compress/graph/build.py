"""The fp32 graph, built from the weights rather than traced: every node is one that ONNX Runtime runs fast.

Laid out by what was measured on CPUs: values are ``[sequence, batch, ...]``, so that ONNX Runtime folds the transposes
around heads into the attention's products; query, key and value packed in one product, and apart where they are wide
enough that splitting it costs more; Add and LayerNormalization apart (fused they are slower); no shape arithmetic;
after the last layer's keys and values only the first token, the one that the classifier reads, is computed.
"""

import onnx

from compress.graph.names import MASKED, WORDS
from compress.graph.weights import ACTIVATIONS, HEAD_ACTIVATIONS, EncoderWeights, LayerWeights, Linear, Norm
from compress.graph.writer import GraphWriter
from compress.runtime.graph_file import INPUTS, OUTPUT, REQUIRED_INPUTS

# Added to the scores of padding: exp() of it is exactly 0, and a row of nothing else still sums to a finite number.
_MASKED = -1e9

# From this hidden size on, copying a packed product's parts out costs more than two more products and their nodes.
APART_FROM = 512


def build_graph(weights: EncoderWeights) -> onnx.ModelProto:
    """The classifier as ONNX: token ids in, float32 logits ``[batch, labels]`` out."""
    return _PostNormGraph(weights).build()


class _PostNormGraph:
    def __init__(self, weights: EncoderWeights) -> None:
        self._weights = weights
        self._graph = GraphWriter()

    def build(self) -> onnx.ModelProto:
        hidden = self._embeddings()
        mask = self._mask()
        *inner, last = enumerate(self._weights.layers)
        for index, layer in inner:
            hidden = self._layer(f"layer.{index}", layer, hidden, hidden, mask)
        index, layer = last
        first = self._graph.op("Gather", hidden, self._graph.constant("zero", [0]), name="first_token", axis=0)
        hidden = self._layer(f"layer.{index}", layer, hidden, first, mask)
        self._head(hidden)
        inputs = REQUIRED_INPUTS if self._weights.segments is None else INPUTS
        return self._graph.finish(inputs, OUTPUT, len(self._weights.classifier.bias))

    def _embeddings(self) -> str:
        """Sums of word, position and, where the family has them, segment, normalized, ``[sequence, batch, hidden]``."""
        graph, weights = self._graph, self._weights
        ids = graph.op("Transpose", "input_ids", name="input_ids.first", perm=(1, 0))
        words = graph.op("Gather", graph.constant(WORDS, weights.words), ids, name="embeddings.words")
        length = graph.op("Shape", "input_ids", name="length", start=1, end=2)
        zero = graph.constant("zero", [0])
        table = graph.constant("positions", weights.positions[:, None, :])
        local = graph.op("Slice", table, zero, length, zero, name="embeddings.positions")
        if weights.segments is not None:
            kinds = graph.op("Transpose", "token_type_ids", name="token_type_ids.first", perm=(1, 0))
            table = graph.constant("segments", weights.segments)
            segments = graph.op("Gather", table, kinds, name="embeddings.segments")
            local = graph.op("Add", segments, local, name="embeddings.local")
        total = graph.op("Add", words, local, name="embeddings.sum")
        return self._norm("embeddings.norm", weights.embedding_norm, total)

    def _mask(self) -> str:
        """0 for tokens and a large negative number for padding, ``[batch, 1, 1, sequence]``."""
        graph = self._graph
        kept = graph.op("Cast", "attention_mask", name="mask.kept", to=onnx.TensorProto.FLOAT)
        padding = graph.op("Sub", graph.scalar("one", 1.0), kept, name="mask.padding")
        scores = graph.op("Mul", padding, graph.scalar(MASKED, _MASKED), name="mask.scores")
        return str(graph.op("Unsqueeze", scores, graph.constant("axes.1_2", [1, 2]), name="mask"))

    def _layer(self, name: str, layer: LayerWeights, hidden: str, queries: str, mask: str) -> str:
        """One layer for the tokens ``queries``, which attend to all of ``hidden``, ``[sequence, batch, hidden]``."""
        graph = self._graph
        attended = self._attention(f"{name}.attention", layer, hidden, queries, mask)
        residual = graph.op("Add", attended, queries, name=f"{name}.attention.residual")
        middle = self._norm(f"{name}.attention.norm", layer.attention_norm, residual)
        expanded = self._ffn(f"{name}.ffn", layer, middle)
        residual = graph.op("Add", expanded, middle, name=f"{name}.ffn.residual")
        return self._norm(f"{name}.ffn.norm", layer.ffn_norm, residual)

    def _attention(self, name: str, layer: LayerWeights, hidden: str, queries: str, mask: str) -> str:
        graph = self._graph
        if layer.heads == 0:
            return graph.constant(f"{name}.bias", layer.attention_output.bias)
        query, key, value = self._projections(name, layer, hidden, queries)
        query = graph.op("Transpose", query, name=f"{name}.query.transposed", perm=(1, 2, 0, 3))
        key = graph.op("Transpose", key, name=f"{name}.key.transposed", perm=(1, 2, 3, 0))
        value = graph.op("Transpose", value, name=f"{name}.value.transposed", perm=(1, 2, 0, 3))
        scores = graph.op("MatMul", query, key, name=f"{name}.products")
        scores = graph.op("Add", scores, mask, name=f"{name}.scores")
        shares = graph.op("Softmax", scores, name=f"{name}.shares", axis=-1)
        context = graph.op("MatMul", shares, value, name=f"{name}.context.heads")
        context = graph.op("Transpose", context, name=f"{name}.context.transposed", perm=(2, 0, 1, 3))
        flat = graph.constant(f"shape.flat.{layer.heads}", [0, 0, layer.heads * self._weights.head_size])
        context = graph.op("Reshape", context, flat, name=f"{name}.context")
        return self._linear(f"{name}.output", layer.attention_output, context)

    def _projections(self, name: str, layer: LayerWeights, hidden: str, queries: str) -> tuple[str, ...]:
        """Query, key and value, ``[sequence, batch, heads, head_size]``; packed where they read the same values."""
        parts = {"query": layer.query, "key": layer.key, "value": layer.value}
        if len(self._weights.embedding_norm.scale) >= APART_FROM:
            return tuple(
                self._by_head(f"{name}.{what}", part, queries if what == "query" else hidden, layer.heads)
                for what, part in parts.items()
            )
        if queries == hidden:
            return self._packed(f"{name}.qkv", tuple(parts.values()), hidden, layer.heads)
        query = self._by_head(f"{name}.query", layer.query, queries, layer.heads)
        return query, *self._packed(f"{name}.kv", (layer.key, layer.value), hidden, layer.heads)

    def _packed(self, name: str, parts: tuple[Linear, ...], value: str, heads: int) -> tuple[str, ...]:
        """Several projections of ``value`` by one product."""
        together = self._by_head(name, pack(*parts), value, len(parts) * heads)
        count = len(parts)
        return tuple(self._graph.op("Split", together, name=f"{name}.split", outputs=count, axis=2, num_outputs=count))

    def _by_head(self, name: str, linear: Linear, value: str, heads: int) -> str:
        shape = self._graph.constant(f"shape.{heads}", [0, 0, heads, self._weights.head_size])
        return str(self._graph.op("Reshape", self._linear(name, linear, value), shape, name=f"{name}.heads"))

    def _ffn(self, name: str, layer: LayerWeights, hidden: str) -> str:
        if layer.ffn_input.bias.size == 0:
            return self._graph.constant(f"{name}.bias", layer.ffn_output.bias)
        kind, attributes = ACTIVATIONS[self._weights.activation]
        inner = self._linear(f"{name}.input", layer.ffn_input, hidden)
        inner = self._graph.op(kind, inner, name=f"{name}.activation", **attributes)
        return self._linear(f"{name}.output", layer.ffn_output, inner)

    def _head(self, first: str) -> None:
        graph = self._graph
        first = graph.op("Squeeze", first, graph.constant("zero", [0]), name="first_token.flat")
        kind, attributes = HEAD_ACTIVATIONS[self._weights.pooler_activation]
        pooled = graph.op(kind, self._linear("pooler", self._weights.pooler, first), name="pooled", **attributes)
        self._linear(OUTPUT, self._weights.classifier, pooled)

    def _linear(self, name: str, linear: Linear, value: str) -> str:
        graph = self._graph
        product = graph.op("MatMul", value, graph.constant(f"{name}.weight", linear.weight), name=f"{name}.product")
        return str(graph.op("Add", product, graph.constant(f"{name}.bias", linear.bias), name=name))

    def _norm(self, name: str, norm: Norm, value: str) -> str:
        graph = self._graph
        scale, shift = graph.constant(f"{name}.scale", norm.scale), graph.constant(f"{name}.shift", norm.shift)
        return str(
            graph.op("LayerNormalization", value, scale, shift, name=name, axis=-1, epsilon=self._weights.norm_epsilon)
        )


def pack(*parts: Linear) -> Linear:
    """Several projections of one input as one: their outputs side by side."""
    import numpy as np

    return Linear(
        np.concatenate([part.weight for part in parts], axis=1), np.concatenate([part.bias for part in parts])
    )
