"""ModernBERT's fp32 graph, laid out as BERT's in ``post_norm.py``, with these differences.

A block begins with its layer norm. Query and key are rotated by angles that grow with the position (RoPE, Su et al.
2021). The FFN's activations are multiplied with gates. In layers with a window a token attends to its neighbours alone.
"""

import numpy as np
import onnx
from onnx import TensorProto

from compress.families.family import ACTIVATIONS
from compress.graph.encoder import EncoderGraph
from compress.graph.weights import SEPARATE_QKV_FROM, EncoderWeights, LayerWeights, Linear, pack
from compress.graph.writer import MASK_VALUE, MASKED, MEAN, NO_LIMIT, SHOWN, WORDS
from compress.runtime.graph_file import OUTPUT, REQUIRED_INPUTS


class ModernBertGraph(EncoderGraph):
    """Writes the graph; values are ``[sequence, batch, ...]``."""

    def __init__(self, weights: EncoderWeights) -> None:
        super().__init__(weights)
        self._zero = self.constant("zero", [0])

    def build(self) -> onnx.ModelProto:
        """Token ids in, float32 logits ``[batch, labels]`` out."""
        weights = self._weights
        self._length = self.op("Shape", "input_ids", name="length", start=1, end=2)
        kinds = dict.fromkeys(layer.kind for layer in weights.layers)
        self._masks = dict(zip(kinds, map(self._mask, kinds), strict=True))
        self._rotations = {kind: self._cosines_and_sines(kind) for kind in kinds}
        ids = self.op("Transpose", "input_ids", name="input_ids.first", perm=(1, 0))
        hidden = self.op("Gather", self.constant(WORDS, weights.words), ids, name="embeddings.words")
        hidden = self._norm("embeddings.norm", weights.embedding_norm, hidden)
        for index, layer in enumerate(weights.layers):
            last = index == len(weights.layers) - 1
            hidden = self._layer(f"layer.{index}", layer, hidden, first_only=last and not weights.reads_mean)
        self._head(hidden)
        return self._model(REQUIRED_INPUTS)

    def _mask(self, kind: str) -> str:
        """The upper limits of scores, ``[batch, 1, 1 or sequence, sequence]``.

        Scores are masked by Min and not by Add: a token that can read nothing, as the first one of a text with much
        padding on the left, then has equal scores for all tokens and reads their mean, as in transformers.
        """
        hidden = self.op("Equal", "attention_mask", self._zero, name=f"{kind}.padding")
        hidden = self.op("Unsqueeze", hidden, self.constant("axes.1_2", [1, 2]), name=f"{kind}.padding.rows")
        if kind == "sliding_attention":
            zero, one = (self.constant(f"{number}.scalar", np.array(number)) for number in (0, 1))
            length = self.op("Squeeze", self._length, name="length.scalar")
            places = self.op("Range", zero, length, one, name="places")
            rows = self.op("Unsqueeze", places, self.constant("one.axis", [1]), name="places.rows")
            apart = self.op("Abs", self.op("Sub", rows, places, name="places.difference"), name="places.apart")
            window = self.constant("window", np.array(self._weights.window))
            beyond = self.op("Greater", apart, window, name=f"{kind}.beyond")
            hidden = self.op("Or", hidden, beyond, name=f"{kind}.hidden")
        masked = self.constant(MASKED, np.array(MASK_VALUE, np.float32))
        shown = self.constant(SHOWN, np.array(NO_LIMIT, np.float32))
        return self.op("Where", hidden, masked, shown, name=f"{kind}.mask")

    def _cosines_and_sines(self, kind: str) -> tuple[str, str]:
        """Cosines and sines of both halves of a head, ``[sequence, 1, 1, head_size]``; the first sines are negated."""
        angles = self._weights.rotary_angles[kind][:, None, None, :]
        cosines, sines = (
            self.op("Slice", self.constant(f"{kind}.{name}.table", table), self._zero, self._length, self._zero,
                    name=f"{kind}.{name}.half")
            for name, table in {"cosines": np.cos(angles), "sines": np.sin(angles)}.items()
        )  # fmt: skip
        negated = self.op("Neg", sines, name=f"{kind}.sines.negated")
        return (
            self.op("Concat", cosines, cosines, name=f"{kind}.cosines", axis=-1),
            self.op("Concat", negated, sines, name=f"{kind}.sines", axis=-1),
        )

    def _layer(self, name: str, layer: LayerWeights, hidden: str, *, first_only: bool) -> str:
        """One layer for all tokens, or for the first one alone, which attends to all."""
        mask = self._masks[layer.kind]
        read = self._norm(f"{name}.attention.norm", layer.attention_norm, hidden) if layer.heads else hidden
        queries = read
        if first_only:
            queries = self.op("Gather", read, self._zero, name="first_token.read", axis=0)
            hidden = queries if read == hidden else self.op("Gather", hidden, self._zero, name="first_token", axis=0)
            if layer.kind == "sliding_attention" and layer.heads:
                ends = self._zero, self.constant("one.axis", [1]), self.constant("two.axis", [2])
                mask = self.op("Slice", mask, *ends, name=f"{name}.attention.mask")
        if layer.heads:
            attended = self._attention(f"{name}.attention", layer, read, queries, mask)
            hidden = self.op("Add", attended, hidden, name=f"{name}.attention.residual")
        else:
            hidden = self._with_bias(f"{name}.attention", layer.attention_output, hidden)
        if layer.ffn_output.weight.size == 0:
            return self._with_bias(f"{name}.ffn", layer.ffn_output, hidden)
        expanded = self._ffn(f"{name}.ffn", layer, self._norm(f"{name}.ffn.norm", layer.ffn_norm, hidden))
        return self.op("Add", expanded, hidden, name=f"{name}.ffn.residual")

    def _with_bias(self, name: str, output: Linear, hidden: str) -> str:
        """``hidden`` plus all that a block without heads or neurons adds to it: its bias, where it has one."""
        if output.bias.size == 0:
            return hidden
        return self.op("Add", hidden, self.constant(f"{name}.bias", output.bias), name=f"{name}.residual")

    def _scores(self, name: str, layer: LayerWeights, products: str, query: str, key: str, mask: str) -> str:  # noqa: ARG002
        return self.op("Min", products, mask, name=f"{name}.scores")

    def _projections(self, name: str, layer: LayerWeights, hidden: str, queries: str) -> tuple[str, ...]:
        """Query, key and value, ``[sequence, batch, heads, head_size]``, with query and key rotated by their positions.

        They are packed where that is faster and they read the same values. The first token's angles are 0.
        """
        heads, packed = layer.heads, layer.attention_output.weight.shape[1] < SEPARATE_QKV_FROM
        if packed and queries == hidden:
            parts = layer.query, layer.key, layer.value
            together = self._by_head(f"{name}.qkv", pack(*parts), hidden, 3 * heads)
            sizes = self.constant(f"heads.{2 * heads}.{heads}", [2 * heads, heads])
            both, value = self.ops("Split", together, sizes, name=f"{name}.qkv.split", outputs=2, axis=2)
            rotated = self._rotated(f"{name}.qk", both, layer.kind)
            return *self.ops("Split", rotated, name=f"{name}.qk.split", outputs=2, axis=2, num_outputs=2), value
        query, key, value = super()._projections(name, layer, hidden, queries)
        if queries == hidden:
            query = self._rotated(f"{name}.query", query, layer.kind)
        return query, self._rotated(f"{name}.key", key, layer.kind), value

    def _rotated(self, name: str, value: str, kind: str) -> str:
        """Heads rotated by the angles of their positions: each value pairs with the one half a head away."""
        cosines, sines = self._rotations[kind]
        halves = self.ops("Split", value, name=f"{name}.halves", outputs=2, axis=-1, num_outputs=2)
        swapped = self.op("Concat", halves[1], halves[0], name=f"{name}.swapped", axis=-1)
        along = self.op("Mul", value, cosines, name=f"{name}.along")
        across = self.op("Mul", swapped, sines, name=f"{name}.across")
        return self.op("Add", along, across, name=f"{name}.turned")

    def _ffn(self, name: str, layer: LayerWeights, hidden: str) -> str:
        kind, attributes = ACTIVATIONS[self._weights.activation]
        inner = self._linear(f"{name}.input", layer.ffn_input, hidden)
        inner = self.op(kind, inner, name=f"{name}.activation", **attributes)
        gate = self._linear(f"{name}.gate", layer.ffn_gate, hidden)
        return self._linear(f"{name}.output", layer.ffn_output, self.op("Mul", inner, gate, name=f"{name}.gated"))

    def _head(self, hidden: str) -> None:
        weights = self._weights
        if not weights.reads_mean:
            hidden = self.op("Squeeze", hidden, self._zero, name="first_token.flat")
        hidden = self._norm("final.norm", weights.final_norm, hidden)
        if weights.reads_mean:
            hidden = self._mean(hidden)
        kind, attributes = ACTIVATIONS[weights.pooler_activation]
        pooled = self.op(kind, self._linear("pooler", weights.pooler, hidden), name="pooler.activation", **attributes)
        self._linear(OUTPUT, weights.classifier, self._norm("pooled", weights.pooler_norm, pooled))

    def _mean(self, hidden: str) -> str:
        """The mean of all tokens but padding, ``[batch, hidden]``."""
        kept = self.op("Cast", "attention_mask", name="mean.kept", to=TensorProto.FLOAT)
        count = self.op("ReduceSum", kept, self.constant("one.axis", [1]), name="mean.count", keepdims=1)
        shares = self.op("Transpose", self.op("Div", kept, count, name="mean.rows"), name="mean.shares", perm=(1, 0))
        shares = self.op("Unsqueeze", shares, self.constant("two.axis", [2]), name="mean.columns")
        shared = self.op("Mul", hidden, shares, name="mean.shared")
        return self.op("ReduceSum", shared, self.constant(MEAN, [0]), name="mean", keepdims=0)
