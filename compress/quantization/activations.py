"""What the products of an fp32 graph read on real texts, from which the static ranges of activations are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compress.graph.names import WORDS
from compress.progress import progress
from compress.quantization.dynamic import quantizable
from compress.quantization.ranges import RANGES, Histogram, Range
from compress.quantization.reference import Candidate
from compress.quantization.saturation import Reach
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Predictor, encoded_logits


@dataclass(frozen=True)
class Activation:
    """One value that products read, over all texts.

    Attributes:
        histogram: of all its numbers.
        low: the smallest number in each of its columns, ``[columns]``; they meet the rows of a weight.
        high: the largest.
    """

    histogram: Histogram
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    def reach(self, covered: Range) -> Reach:
        """The smallest and largest uint8 of each column under ``covered``."""
        steps = (np.rint(end / covered.scale) + int(covered.zero) for end in (self.low, self.high))
        low, high = (step.clip(0, 255).astype(np.int64) for step in steps)
        return Reach(low, high)


def products(model: onnx.ModelProto) -> dict[str, str]:
    """The value that each weight of an fp32 model of ours is multiplied with, by the weight's name."""
    weights = quantizable(model).keys() - {WORDS}
    nodes = (node for node in model.graph.node if node.op_type == "MatMul")
    return {node.input[1]: node.input[0] for node in nodes if node.input[1] in weights}


def collect(
    model: onnx.ModelProto, parent: Predictor, encodings: Sequence[Encoding], threads: int
) -> dict[str, Activation]:
    """Run the fp32 ``model`` on each text alone; returns what its products read, by the value's name."""
    names = list(dict.fromkeys(products(model).values()))
    seen: dict[str, Activation] = {}

    def add(arrays: Sequence[npt.NDArray[Any]]) -> None:
        for name, array in zip(names, arrays, strict=True):
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            before = seen.get(name, Activation(Histogram(), low, high))
            seen[name] = Activation(
                before.histogram.add(array), np.minimum(before.low, low), np.maximum(before.high, high)
            )

    with progress("activations", len(encodings)) as advance:
        encoded_logits(Candidate(model, parent, threads, names, add), encodings, advance)
    return seen


def ranges(seen: Mapping[str, Activation], method: str) -> dict[str, Range]:
    """The range of each value by ``percentile`` or ``entropy``."""
    return {name: RANGES[method](activation.histogram) for name, activation in seen.items()}
