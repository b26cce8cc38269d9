"""What the products of an fp32 graph read on real texts: the ground for static ranges of activations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from compress.progress import progress
from compress.quantization.candidate import Candidate
from compress.quantization.dynamic import WORDS, quantizable
from compress.quantization.ranges import RANGES, Histogram, Range
from compress.quantization.saturation import Reach
from compress.runtime.encoding import Encoding, Feeds
from compress.runtime.predictor import Logits, Predictor, encoded_logits


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
    return {node.input[1]: node.input[0] for node in model.graph.node if node.op_type == "MatMul"
            and node.input[1] in weights}  # fmt: skip


def collect(
    model: onnx.ModelProto, parent: Predictor, encodings: Sequence[Encoding], threads: int
) -> dict[str, Activation]:
    """Run the fp32 ``model`` on each text alone; by name, what its products read."""
    values = list(dict.fromkeys(products(model).values()))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values)
    collector = _Collector(watched, values, parent, threads)
    with progress("activations", len(encodings)) as advance:
        encoded_logits(collector, encodings, advance)
    return collector.seen


def ranges(seen: Mapping[str, Activation], method: str) -> dict[str, Range]:
    """The range of each value by ``percentile`` or ``entropy``."""
    return {name: RANGES[method](activation.histogram) for name, activation in seen.items()}


class _Collector(Candidate):
    def __init__(self, model: onnx.ModelProto, values: list[str], parent: Predictor, threads: int) -> None:
        super().__init__(model, parent, threads)
        self._values = values
        self.seen: dict[str, Activation] = {}

    def run(self, feeds: Feeds) -> Logits:
        logits, *found = self._session.run(["logits", *self._values], feeds)
        for name, array in zip(self._values, found, strict=True):
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            before = self.seen.get(name, Activation(Histogram(), low, high))
            self.seen[name] = Activation(
                before.histogram.add(array), np.minimum(before.low, low), np.maximum(before.high, high)
            )
        return np.asarray(logits, dtype=np.float32)
