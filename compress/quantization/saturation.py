"""Which products could saturate on CPUs without VNNI, and the range of integers that keeps them from it.

Such CPUs multiply uint8 activations with int8 weights by ``vpmaddubsw``: the products of rows 2k and 2k+1 are added in
16 bits and cut at 32,767 or -32,768, so that answers differ from those of CPUs with VNNI, which add in 32 bits. A
column whose weights use a smaller range of integers cannot get there; at 64 none can, and most get by with far more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from compress.evaluation.agreement import ReferenceOutputs
from compress.quantization.candidate import Candidate
from compress.quantization.dynamic import (
    FULL_RANGE,
    WORDS,
    Integers,
    QuantizationPlan,
    quantizable,
    quantize_columns,
    quantize_weights,
)
from compress.runtime.predictor import encoded_logits

_LOWEST, _HIGHEST = -32768, 32767


@dataclass(frozen=True)
class Reach:
    """The smallest and largest uint8 activation that each row of a weight meets, ``[rows]``."""

    low: Integers
    high: Integers

    @classmethod
    def anything(cls, rows: int) -> "Reach":
        """All that uint8 can be."""
        return cls(np.zeros(rows, np.int64), np.full(rows, 255, np.int64))


@dataclass(frozen=True)
class SaturationRisk:
    """How much of a model could saturate on a CPU without VNNI.

    Attributes:
        matrices: int8 weight matrices.
        columns: their columns in all.
        at_risk_matrices: matrices with a pair of weights that the observed activations could saturate in full range.
        at_risk_columns: columns with such a pair.
        narrowed_columns: columns that were given a smaller range for it.
        left_columns: columns that activations beyond the observed ones could still saturate.
        texts: on how many texts the activations were observed.
    """

    matrices: int
    columns: int
    at_risk_matrices: int
    at_risk_columns: int
    narrowed_columns: int
    left_columns: int
    texts: int

    def __str__(self) -> str:
        left = (
            f"{self.left_columns:,} stay open to activations that these texts did not show, --portable closes them"
            if self.left_columns
            else "no text can saturate what is left"
        )
        return (
            f"without VNNI, {self.at_risk_columns:,} of {self.columns:,} columns in {self.at_risk_matrices} of "
            f"{self.matrices} matrices could saturate on {self.texts:,} validation texts; "
            f"{self.narrowed_columns:,} columns have a smaller range; {left}"
        )


def saturating(integers: npt.NDArray[np.int8], reach: Reach) -> npt.NDArray[np.bool_]:
    """Which columns ``[columns]`` of a weight ``[rows, columns]`` have a pair of rows that ``reach`` can saturate.

    The bound is exact: each activation lies anywhere in its reach, independently of the other.
    """
    ends = np.stack([integers * reach.low[:, None], integers * reach.high[:, None]])
    highest, lowest = _pairs(ends.max(axis=0)), _pairs(ends.min(axis=0))
    return np.asarray(((highest > _HIGHEST) | (lowest < _LOWEST)).any(axis=0))


def _pairs(rows: Integers) -> Integers:
    """Rows 2k and 2k+1 added; a last one without a partner stays."""
    return np.add.reduceat(rows, np.arange(0, len(rows), 2), axis=0)


def safe_range(weight: npt.NDArray[np.float32], reach: Reach) -> Integers:
    """The largest integer of each column ``[columns]``, 64 to 127, with which no pair of its weights saturates."""
    largest = np.full(weight.shape[1], FULL_RANGE)
    open_columns = np.arange(weight.shape[1])
    while len(open_columns):
        integers, _ = quantize_columns(weight[:, open_columns], largest[open_columns])
        open_columns = open_columns[saturating(integers, reach)]
        largest[open_columns] -= 1
    return largest


def portable_plan(model: onnx.ModelProto) -> QuantizationPlan:
    """All weights in int8, none of which any activations can saturate."""
    return QuantizationPlan(
        largest={name: safe_range(weight, Reach.anything(len(weight))) for name, weight in _matrices(model)}
    )


def observed_plan(model: onnx.ModelProto, reaches: Mapping[str, Reach]) -> QuantizationPlan:
    """All weights in int8, none of which the observed activations can saturate."""
    return QuantizationPlan(largest={name: safe_range(weight, reaches[name]) for name, weight in _matrices(model)})


def observe(
    model: onnx.ModelProto, portable: QuantizationPlan, reference: ReferenceOutputs, threads: int
) -> dict[str, Reach]:
    """The activations that each weight of the fp32 ``model`` meets on the exam's texts, in batches and one at a time.

    They are read from the int8 graph of the ``portable`` plan, so they are the same on every CPU.
    """
    graph, weights = _observing(quantize_weights(model, portable))
    watcher = _Watcher(graph, weights, reference, threads)
    encoded_logits(watcher, reference.encodings)
    for encoding in reference.encodings:
        encoded_logits(watcher, [encoding])
    return {name: Reach(low, high) for name, (low, high) in watcher.seen.items()}


def count_risk(
    model: onnx.ModelProto, plan: QuantizationPlan, reaches: Mapping[str, Reach], texts: int
) -> SaturationRisk:
    """What the weights that ``plan`` quantizes could saturate, in full range and as planned."""
    matrices = [(name, weight) for name, weight in _matrices(model) if name not in plan.kept_fp32]
    at_risk, narrowed, left = [], 0, 0
    for name, weight in matrices:
        at_risk.append(int(saturating(quantize_columns(weight)[0], reaches[name]).sum()))
        largest = plan.largest.get(name, np.full(weight.shape[1], FULL_RANGE))
        narrowed += int((largest < FULL_RANGE).sum())
        left += int(saturating(quantize_columns(weight, largest)[0], Reach.anything(len(weight))).sum())
    return SaturationRisk(
        matrices=len(matrices),
        columns=sum(weight.shape[1] for _, weight in matrices),
        at_risk_matrices=sum(count > 0 for count in at_risk),
        at_risk_columns=sum(at_risk),
        narrowed_columns=narrowed,
        left_columns=left,
        texts=texts,
    )


def _matrices(model: onnx.ModelProto) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """The weights that are multiplied with uint8 activations; the word table is only looked up."""
    return [(name, weight) for name, weight in quantizable(model).items() if name != WORDS]


def _observing(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The int8 model with the ends of each product's activations as outputs, and the weights in their order."""
    graph, weights = model.graph, []
    graph.initializer.append(helper.make_tensor("observed.axes", TensorProto.INT64, [1], [0]))
    for node in [node for node in graph.node if node.op_type == "MatMulInteger"]:
        weights.append(node.input[1].removesuffix(".int8"))
        flat = f"{node.name}.rows"
        graph.node.append(helper.make_node("Flatten", [node.input[0]], [flat], name=flat, axis=-1))
        for kind in ("ReduceMin", "ReduceMax"):
            name = f"{node.name}.{kind}"
            graph.node.append(helper.make_node(kind, [flat, "observed.axes"], [name], name=name, keepdims=0))
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, [None]))
    return model, weights


class _Watcher(Candidate):
    """Runs batches and keeps the ends of what each weight has met."""

    def __init__(self, model: onnx.ModelProto, weights: list[str], reference: ReferenceOutputs, threads: int) -> None:
        super().__init__(model, reference.parent, threads)
        self._weights = weights
        self.seen: dict[str, tuple[Integers, Integers]] = {}

    def run(self, feeds: dict[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        logits, *ends = self._session.run(None, feeds)
        for name, low, high in zip(self._weights, ends[::2], ends[1::2], strict=True):
            before = self.seen.get(name, (low, high))
            self.seen[name] = (
                np.minimum(before[0], low).astype(np.int64),
                np.maximum(before[1], high).astype(np.int64),
            )
        return np.asarray(logits, dtype=np.float32)
