"""The graph of disentangled attention (DeBERTa, He et al. 2021): tokens also attend to how far away others are.

A score is q_i k_j + q_i K[i - j] + k_j Q[i - j]: beside the product of query and key, that of the query with a key of
the distance, and that of the key with a query of the distance. K and Q do not depend on the text and are constants.
For all L² pairs of tokens only 2 L distances are looked up and multiplied with. Each token then needs a window of the
2 L products that moves by one from token to token: cutting it out is a reshape, which costs nothing, between two slices
(as in Transformer-XL, Dai et al. 2019), where a gather would fetch number by number.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto
from torch import nn

from compress.families.view import EncoderView
from compress.graph import weights as plain
from compress.graph.post_norm import PostNormGraph
from compress.graph.weights import Array, EncoderWeights, LayerWeights
from compress.graph.writer import MASK_VALUE, MASKED, NO_LIMIT, SHOWN, TABLE, WORDS

Rows = npt.NDArray[np.int64]


class DisentangledGraph(PostNormGraph):
    """Writes the graph: BERT's but for the scores, the place of the projection, and padding, whose embeddings are 0.

    Args:
        weights: with position keys and queries where the model has them.
        rows: the row in the layers' position keys and queries of each distance, from ``longest`` down to ``-longest``;
            a distance is the place of the token that attends minus the place of the other.
    """

    def __init__(self, weights: EncoderWeights, rows: Rows) -> None:
        super().__init__(weights)
        self._rows = rows

    def _embeddings(self) -> str:
        weights = self._weights
        ids = self.op("Transpose", "input_ids", name="input_ids.first", perm=(1, 0))
        total = self.op("Gather", self.constant(WORDS, weights.words), ids, name="embeddings.words")
        zero, length = self._number(0), self.op("Shape", "input_ids", name="length", start=1, end=2)
        if len(weights.positions):
            table = self.constant("positions", weights.positions[:, None, :])
            positions = self.op("Slice", table, zero, length, zero, name="embeddings.positions")
            total = self.op("Add", total, positions, name="embeddings.sum")
        if weights.projection:
            matrix = self.constant("embeddings.projection.weight", weights.projection.weight)
            total = self.op("MatMul", total, matrix, name="embeddings.projection")
        hidden = self._norm("embeddings.norm", weights.embedding_norm, total)
        kept = self.op("Cast", "attention_mask", name="embeddings.kept", to=TensorProto.FLOAT)
        kept = self.op("Transpose", kept, name="embeddings.kept.first", perm=(1, 0))
        kept = self.op("Unsqueeze", kept, self.constant("axes.2", [2]), name="embeddings.kept.columns")
        return self.op("Mul", hidden, kept, name="embeddings")

    def _mask(self) -> str:
        """The upper limit of each pair's score, ``[batch, 1, sequence, sequence]``: MASK_VALUE where one is padding.

        A mask that is added would keep the order of the scores with which padding attends. In transformers padding
        attends to all tokens alike, and where texts are padded on the left the classifier reads its output.
        """
        kept = self.op("Cast", "attention_mask", name="mask.kept", to=TensorProto.BOOL)
        first = self.op("Slice", kept, *map(self._number, (0, 1, 1)), name="mask.kept.first")
        self._first_mask = self._limits("mask.first", first, kept)
        self._look_up_distances()
        return self._limits("mask", kept, kept)

    def _limits(self, name: str, attending: str, kept: str) -> str:
        rows = self.op("Unsqueeze", attending, self.constant("axes.1_3", [1, 3]), name=f"{name}.rows")
        columns = self.op("Unsqueeze", kept, self.constant("axes.1_2", [1, 2]), name=f"{name}.columns")
        pairs = self.op("And", rows, columns, name=f"{name}.pairs")
        shown = self.constant(SHOWN, np.array(NO_LIMIT, np.float32))
        masked = self.constant(MASKED, np.array(MASK_VALUE, np.float32))
        return self.op("Where", pairs, shown, masked, name=name)

    def _look_up_distances(self) -> None:
        """Look up the rows of a text's distances, for all layers, and the shape to cut the windows out with."""
        longest, zero = self._number(len(self._rows) // 2), self._number(0)
        start = self.op("Sub", longest, "length", name="distances.start")
        end = self.op("Add", longest, "length", name="distances.end")
        falling, rising = (self._rows, self._rows[::-1])
        self._falling, self._rising = (
            self.op("Slice", self.constant(name, rows[:-1]), start, end, zero, name=f"distances.{name}")
            for name, rows in {"falling": falling, "rising": rising}.items()
        )
        self._to_first = self.op("Slice", "falling", longest, end, zero, name="distances.first")
        self._shifted = self.op(
            "Concat", self.constant("kept_sizes", [0, 0]), "length", self._number(-1), name="shifted", axis=0
        )

    def _number(self, number: int) -> str:
        return self.constant(f"number.{number}", [number])

    def _scores(self, name: str, layer: LayerWeights, products: str, query: str, key: str, mask: str) -> str:
        is_last = layer is self._weights.layers[-1]
        distance_scores = self._first_token_scores if is_last else self._all_token_scores
        for value in distance_scores(name, layer, query, key):
            products = self.op("Add", products, value, name=f"{value}.added")
        return self.op("Min", products, self._first_mask if is_last else mask, name=f"{name}.scores")

    def _all_token_scores(self, name: str, layer: LayerWeights, queries: str, key: str) -> list[str]:
        """The terms that distances add to all tokens' scores, ``[batch, heads, sequence, sequence]`` each."""
        added = []
        if layer.position_keys is not None:
            place = f"{name}.position_keys"
            rows = self._positions_of(place, layer.position_keys, self._falling)
            added.append(self._windows(place, queries, rows))
        if layer.position_queries is not None:
            place = f"{name}.position_queries"
            keys = self.op("Transpose", key, name=f"{place}.keys", perm=(1, 2, 0, 3))
            rows = self._positions_of(place, layer.position_queries, self._rising)
            windows = self._windows(place, keys, rows)
            added.append(self.op("Transpose", windows, name=f"{place}.turned", perm=(0, 1, 3, 2)))
        return added

    def _windows(self, name: str, tokens: str, positions: str) -> str:
        """Products of ``tokens`` with distances, ``[batch, heads, L, L]``: token i keeps L of 2 L, from L - i on."""
        products = self.op("MatMul", tokens, positions, name=f"{name}.products")
        flat = self.op("Reshape", products, self.constant("shape.rows", [0, 0, -1]), name=f"{name}.flat")
        end, axis = self._number(np.iinfo(np.int64).max), self._number(2)
        flat = self.op("Slice", flat, "length", end, axis, name=f"{name}.flat.rest")
        shifted = self.op("Reshape", flat, self._shifted, name=f"{name}.shifted")  # rows of 2 L - 1
        return self.op("Slice", shifted, self._number(0), "length", self._number(3), name=name)

    def _first_token_scores(self, name: str, layer: LayerWeights, queries: str, key: str) -> list[str]:
        """The terms that distances add to the first token's scores, ``[batch, heads, 1, sequence]`` each."""
        added = []
        if layer.position_keys is not None:
            place = f"{name}.position_keys"
            rows = self._positions_of(place, layer.position_keys, self._to_first)
            added.append(self.op("MatMul", queries, rows, name=place))
        if layer.position_queries is not None:
            place = f"{name}.position_queries"
            table = self.constant(f"{place}{TABLE}", layer.position_queries)
            own = self.op("Gather", table, self._to_first, name=f"{place}.rows", axis=0)
            products = self.op("Mul", key, own, name=f"{place}.products")
            sums = self.op("ReduceSum", products, self._number(3), name=f"{place}.sums")  # [sequence, batch, heads, 1]
            added.append(self.op("Transpose", sums, name=place, perm=(1, 2, 3, 0)))
        return added

    def _positions_of(self, name: str, table: Array, rows: str) -> str:
        """The ``rows`` of ``table``, ``[1, heads, head_size, rows]``."""
        looked_up = self.op("Gather", self.constant(f"{name}{TABLE}", table), rows, name=f"{name}.rows", axis=0)
        return self.op("Transpose", looked_up, name=f"{name}.transposed", perm=(1, 2, 3, 0))


@torch.no_grad()
def read_weights(model: nn.Module) -> tuple[EncoderWeights, Rows]:
    """The weights of ``model`` with position keys and queries, and the rows of :class:`DisentangledGraph`."""
    view = EncoderView(model)
    kinds = [kind for kind in ("c2p", "p2c") if kind in (view.config.pos_att_type or ())]
    scale = np.float32((1 + len(kinds)) ** -0.5)  # a score is a sum of 1 + len(kinds) products
    positions = _positions(view)
    weights = plain.read_weights(model)
    layers = []
    for layer, own in zip(weights.layers, view.layers, strict=True):
        query = plain.Linear(layer.query.weight * scale, layer.query.bias * scale)
        parts: dict[str, Array] = {}
        if positions is not None and own.heads:
            # Positions have projections of their own, or share the key's and the query's.
            sources = dict(zip(kinds, own.position_projections, strict=False)) or {"c2p": own.key, "p2c": own.query}
            shape = len(positions), 1, own.heads, own.head_size
            parts = {kind: plain.array_of(sources[kind](positions)).reshape(shape) for kind in kinds}
        keys, queries = parts.get("c2p"), parts.get("p2c")
        queries = None if queries is None else queries * np.float32(scale * own.head_size**-0.5)
        layers.append(replace(layer, query=query, position_keys=keys, position_queries=queries))
    return replace(weights, layers=tuple(layers)), relative_rows(view.config, view.longest)


def relative_rows(config: Any, longest: int) -> Rows:
    """The row of the table of relative positions for each distance, from ``longest`` down to ``-longest``.

    Distances up to half the buckets have a row each; longer ones share rows, the more the longer they are. The
    arithmetic is torch's in float32, as in transformers: a number to be rounded up may be whole but for its last bit.
    """
    side, buckets = _rows_a_side(config), getattr(config, "position_buckets", -1)
    distances = torch.arange(longest, -longest - 1, -1)
    if buckets > 0:
        near = buckets // 2
        furthest = torch.tensor((_most_distant(config) - 1) / near)
        far = torch.ceil(torch.log(distances.abs().clamp(min=near) / near) / torch.log(furthest) * (near - 1)) + near
        distances = torch.where(distances.abs() <= near, distances, (far * distances.sign()).long())
    rows: Rows = (distances + side).clamp(0, 2 * side - 1).numpy()
    return rows


def _rows_a_side(config: Any) -> int:
    """The number of rows that the table has for either side of a token."""
    buckets = getattr(config, "position_buckets", -1)
    return int(buckets if buckets > 0 else _most_distant(config))


def _most_distant(config: Any) -> int:
    return int(config.max_relative_positions if config.max_relative_positions > 0 else config.max_position_embeddings)


def _positions(view: EncoderView) -> torch.Tensor | None:
    """The vectors of relative positions, ``[rows, hidden]``, where the model has them."""
    table, norm = view.relative_positions
    if table is None:
        return None
    rows = table.weight[: 2 * _rows_a_side(view.config)]
    return rows if norm is None else norm(rows)
