"""The fp32 graph of BERT and its relatives: a layer norm follows each block's sum with its input."""

import numpy as np
import onnx
from onnx import TensorProto

from compress.families.family import ACTIVATIONS
from compress.graph.encoder import EncoderGraph
from compress.graph.weights import HEAD_ACTIVATIONS, LayerWeights
from compress.graph.writer import MASK_VALUE, MASKED, WORDS
from compress.runtime.graph_file import INPUTS, OUTPUT, REQUIRED_INPUTS


class PostNormGraph(EncoderGraph):
    """Writes the graph of an encoder that computes as BERT does."""

    def build(self) -> onnx.ModelProto:
        """Token ids in, float32 logits ``[batch, labels]`` out."""
        hidden = self._embeddings()
        mask = self._mask()
        *inner, last = enumerate(self._weights.layers)
        for index, layer in inner:
            hidden = self._layer(f"layer.{index}", layer, hidden, hidden, mask)
        index, layer = last
        first = self.op("Gather", hidden, self.constant("zero", [0]), name="first_token", axis=0)
        hidden = self._layer(f"layer.{index}", layer, hidden, first, mask)
        self._head(hidden)
        return self._model(REQUIRED_INPUTS if self._weights.segments is None else INPUTS)

    def _embeddings(self) -> str:
        """Normalized sums of word, position and, where they are read, segment, ``[sequence, batch, hidden]``."""
        weights = self._weights
        ids = self.op("Transpose", "input_ids", name="input_ids.first", perm=(1, 0))
        words = self.op("Gather", self.constant(WORDS, weights.words), ids, name="embeddings.words")
        local = self._positions(ids)
        if weights.segments is not None:
            kinds = self.op("Transpose", "token_type_ids", name="token_type_ids.first", perm=(1, 0))
            table = self.constant("segments", weights.segments)
            segments = self.op("Gather", table, kinds, name="embeddings.segments")
            local = self.op("Add", segments, local, name="embeddings.local")
        total = self.op("Add", words, local, name="embeddings.sum")
        hidden = self._norm("embeddings.norm", weights.embedding_norm, total)
        return self._linear("embeddings.projection", weights.projection, hidden) if weights.projection else hidden

    def _positions(self, ids: str) -> str:
        """Position embeddings, by place ``[sequence, 1, width]``, or by counted token ``[sequence, batch, width]``."""
        weights = self._weights
        zero = self.constant("zero", [0])
        length = self.op("Shape", "input_ids", name="length", start=1, end=2)
        if weights.pad_id is None:
            table = self.constant("positions", weights.positions[:, None, :])
            return self.op("Slice", table, zero, length, zero, name="embeddings.positions")
        padding = self.op("Equal", ids, self.constant("pad_id", [weights.pad_id]), name="positions.padding")
        counted = self.op("Where", padding, zero, self.constant("one.token", [1]), name="positions.counted")
        count = self.op("CumSum", counted, zero, name="positions.count")
        rows = self.op("Mul", count, counted, name="positions.rows.whole")
        # This slice cuts nothing off. Without it ONNX Runtime would know that all sums have equal shapes, and fuse Add
        # and LayerNormalization, which is slower.
        rows = self.op("Slice", rows, zero, length, zero, name="positions.rows")
        return self.op("Gather", self.constant("positions", weights.positions), rows, name="embeddings.positions")

    def _mask(self) -> str:
        """0 for tokens and a large negative number for padding, ``[batch, 1, 1, sequence]``."""
        kept = self.op("Cast", "attention_mask", name="mask.kept", to=TensorProto.FLOAT)
        padding = self.op("Sub", self.constant("one", np.array(1, np.float32)), kept, name="mask.padding")
        scores = self.op("Mul", padding, self.constant(MASKED, np.array(MASK_VALUE, np.float32)), name="mask.scores")
        return self.op("Unsqueeze", scores, self.constant("axes.1_2", [1, 2]), name="mask")

    def _layer(self, name: str, layer: LayerWeights, hidden: str, queries: str, mask: str) -> str:
        """One layer for the tokens ``queries``, which attend to all of ``hidden``, ``[sequence, batch, hidden]``."""
        attended = self._attention(f"{name}.attention", layer, hidden, queries, mask)
        residual = self.op("Add", attended, queries, name=f"{name}.attention.residual")
        middle = self._norm(f"{name}.attention.norm", layer.attention_norm, residual)
        expanded = self._ffn(f"{name}.ffn", layer, middle)
        residual = self.op("Add", expanded, middle, name=f"{name}.ffn.residual")
        return self._norm(f"{name}.ffn.norm", layer.ffn_norm, residual)

    def _ffn(self, name: str, layer: LayerWeights, hidden: str) -> str:
        if layer.ffn_input.bias.size == 0:
            return self.constant(f"{name}.bias", layer.ffn_output.bias)
        kind, attributes = ACTIVATIONS[self._weights.activation]
        inner = self._linear(f"{name}.input", layer.ffn_input, hidden)
        inner = self.op(kind, inner, name=f"{name}.activation", **attributes)
        return self._linear(f"{name}.output", layer.ffn_output, inner)

    def _head(self, first: str) -> None:
        first = self.op("Squeeze", first, self.constant("zero", [0]), name="first_token.flat")
        kind, attributes = HEAD_ACTIVATIONS[self._weights.pooler_activation]
        pooled = self.op(kind, self._linear("pooler", self._weights.pooler, first), name="pooled", **attributes)
        self._linear(OUTPUT, self._weights.classifier, pooled)
