"""Which weights could saturate on CPUs without VNNI, and the range of integers that keeps them from it.

CPUs without VNNI multiply uint8 activations with int8 weights by ``vpmaddubsw``: the products of rows 2k and 2k+1 are
added in 16 bits and cut at 32,767 or -32,768, so that answers differ from those of CPUs with VNNI, which add in 32
bits. A column whose weights use a small enough range of integers cannot saturate: up to 64 none can, and most columns
need far less narrowing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compress.graph.writer import is_table
from compress.quantization.dynamic import (
    FULL_RANGE,
    Integers,
    QuantizationPlan,
    matmul_inputs,
    quantizable,
    quantize_columns,
    quantize_weights,
    uint8_names,
)
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.runtime.predictor import encoded_logits

_LOWEST, _HIGHEST = -32768, 32767


@dataclass(frozen=True)
class ObservedRange:
    """The smallest and largest uint8 activation that each row of a weight is multiplied with, ``[rows]``."""

    low: Integers
    high: Integers

    @classmethod
    def full(cls, rows: int) -> "ObservedRange":
        """All of uint8, as where nothing was observed."""
        return cls(np.zeros(rows, np.int64), np.full(rows, 255, np.int64))

    def __or__(self, other: "ObservedRange") -> "ObservedRange":
        """The range that covers both."""
        return ObservedRange(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True)
class SaturationRisk:
    """How much of a model could saturate on a CPU without VNNI, counted over its int8 weight matrices."""

    matrices: int
    columns: int
    at_risk_matrices: int  # with a pair of weights that the observed activations could saturate in full range
    at_risk_columns: int
    narrowed_columns: int  # given a smaller range to prevent it
    left_columns: int  # activations outside the observed range could still saturate them
    texts: int  # on which the activations were observed

    def __str__(self) -> str:
        left = (
            f"{self.left_columns:,} could still saturate on other texts, --portable prevents it"
            if self.left_columns
            else "no text can saturate them now"
        )
        return (
            f"without VNNI, {self.at_risk_columns:,} of {self.columns:,} columns in {self.at_risk_matrices} of "
            f"{self.matrices} matrices could saturate on {self.texts:,} validation texts; "
            f"{self.narrowed_columns:,} columns have a smaller range; {left}"
        )


def saturating(integers: npt.NDArray[np.int8], observed: ObservedRange) -> npt.NDArray[np.bool_]:
    """Whether each column of a weight ``[rows, columns]`` has a pair of rows that can saturate, ``[columns]``.

    The bound is exact: each activation lies anywhere in its observed range, independently of the other.
    """
    ends = np.stack([integers * observed.low[:, None], integers * observed.high[:, None]])
    pairs = np.arange(0, len(integers), 2)  # a last row without a partner stays alone
    highest, lowest = (np.add.reduceat(end, pairs, axis=0) for end in (ends.max(axis=0), ends.min(axis=0)))
    return np.asarray(((highest > _HIGHEST) | (lowest < _LOWEST)).any(axis=0))


def safe_range(weight: npt.NDArray[np.float32], observed: ObservedRange) -> Integers:
    """The largest integer, 64 to 127, with which no pair of a column's weights saturates, ``[columns]``."""
    largest = np.full(weight.shape[1], FULL_RANGE)
    open_columns = np.arange(weight.shape[1])
    while len(open_columns):
        integers, _ = quantize_columns(weight[:, open_columns], largest[open_columns])
        open_columns = open_columns[saturating(integers, observed)]
        largest[open_columns] -= 1
    return largest


def portable_plan(model: onnx.ModelProto) -> QuantizationPlan:
    """The plan with all weights in int8 and in ranges that no activations can saturate."""
    return observed_plan(model, {name: ObservedRange.full(len(weight)) for name, weight in _matrices(model)})


def observed_plan(model: onnx.ModelProto, observed: Mapping[str, ObservedRange]) -> QuantizationPlan:
    """The plan with all weights in int8 and in ranges that the observed activations cannot saturate."""
    return QuantizationPlan(largest={name: safe_range(weight, observed[name]) for name, weight in _matrices(model)})


def observe(
    model: onnx.ModelProto, portable: QuantizationPlan, reference: ReferenceOutputs, threads: int
) -> dict[str, ObservedRange]:
    """The activations that each weight of the fp32 ``model`` is multiplied with on the reference's texts, by weight.

    The int8 graph of the ``portable`` plan reads the texts one at a time: it answers alike on every CPU.
    """
    inputs = matmul_inputs(model)
    values = list(dict.fromkeys(inputs.values()))
    observed: dict[str, ObservedRange] = {}

    def add(arrays: Sequence[npt.NDArray[Any]]) -> None:
        for value, array in zip(values, arrays, strict=True):
            rows = array.reshape(-1, array.shape[-1])
            text = ObservedRange(rows.min(axis=0).astype(np.int64), rows.max(axis=0).astype(np.int64))
            observed[value] = observed.get(value, text) | text

    integers = [uint8_names(value)[0] for value in values]
    int8 = Candidate(quantize_weights(model, portable), reference.parent, threads, integers, add)
    encoded_logits(int8, reference.encodings)
    return {weight: observed[value] for weight, value in inputs.items()}


def count_risk(
    model: onnx.ModelProto, plan: QuantizationPlan, observed: Mapping[str, ObservedRange], texts: int
) -> SaturationRisk:
    """How much of the weights that ``plan`` quantizes could saturate, in full range and as planned."""
    matrices = [(name, weight) for name, weight in _matrices(model) if name not in plan.kept_fp32]
    at_risk, narrowed, left = [], 0, 0
    for name, weight in matrices:
        at_risk.append(int(saturating(quantize_columns(weight)[0], observed[name]).sum()))
        largest = plan.largest.get(name, np.full(weight.shape[1], FULL_RANGE))
        narrowed += int((largest < FULL_RANGE).sum())
        left += int(saturating(quantize_columns(weight, largest)[0], ObservedRange.full(len(weight))).sum())
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
    """The weights that are multiplied with uint8 activations, by name; tables are only looked up."""
    return [(name, weight) for name, weight in quantizable(model).items() if not is_table(name)]
