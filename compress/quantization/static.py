"""Static int8: 8-bit weights, and activations in ranges that are fixed beforehand from real texts.

The products' inputs are counted in histograms (``collect``), a range of each is chosen (``ranges``), and the graph
rewritten, so that a text's answer does not depend on the texts in its batch. Rules of the rewrite:
1. ``x`` goes through ``QuantizeLinear`` to uint8 in its range, once for all products that read it. The weight is int8,
   symmetric by column. The word table and the weights that stay fp32 are as in the dynamic rewrite.
2. For ONNX Runtime (``quantize_static``) the product, its scales and its bias are one ``MatMulIntegerToFloat``, an
   operator of its own: it has no fusion that makes this of stock operators.
3. For OpenVINO and TensorRT (``quantize_qdq``) ``MatMul(x, W)`` stays, and reads both through ``DequantizeLinear``:
   stock operators in the pattern that they compute in integers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from compress.graph.writer import Constants, constants_of, rewrite
from compress.progress import progress
from compress.quantization.dynamic import QuantizationPlan, products, replace_products, uint8_names
from compress.quantization.ranges import Histogram, Range
from compress.quantization.reference import Candidate
from compress.quantization.saturation import Reach
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Predictor, encoded_logits

_CONTRIBUTED = "com.microsoft"  # the domain of ONNX Runtime's own operators
Ranges = Mapping[str, Range]


@dataclass(frozen=True)
class SeenValue:
    """One value that products read, over all texts: its numbers, and the smallest and largest in each column."""

    histogram: Histogram
    low: npt.NDArray[np.float32]  # [columns], which meet the rows of a weight
    high: npt.NDArray[np.float32]

    def reach(self, covered: Range) -> Reach:
        """The smallest and largest uint8 of each column under ``covered``."""
        steps = (np.rint(end / covered.scale) + int(covered.zero) for end in (self.low, self.high))
        low, high = (step.clip(0, 255).astype(np.int64) for step in steps)
        return Reach(low, high)


def collect(
    model: onnx.ModelProto, parent: Predictor, encodings: Sequence[Encoding], threads: int
) -> dict[str, SeenValue]:
    """Run the fp32 ``model`` on each text alone; returns what its products read, by the value's name."""
    names = list(dict.fromkeys(products(model).values()))
    seen: dict[str, SeenValue] = {}

    def add(arrays: Sequence[npt.NDArray[Any]]) -> None:
        for name, array in zip(names, arrays, strict=True):
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            before = seen.get(name, SeenValue(Histogram(), low, high))
            seen[name] = SeenValue(
                before.histogram.add(array), np.minimum(before.low, low), np.maximum(before.high, high)
            )

    with progress("activations", len(encodings)) as advance:
        encoded_logits(Candidate(model, parent, threads, names, add), encodings, advance)
    return seen


def quantize_static(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Ranges) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8 for ONNX Runtime; ``ranges`` are of what products read."""
    sums, removed = _bias_sums(model), set[str]()

    def multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        (value, weight), (result,) = node.input, node.output
        integers, scale, zero = uint8_names(value)
        reads = [integers, f"{weight}.int8", scale, f"{weight}.scale", zero]
        if result in sums:
            result, bias = sums[result]
            removed.add(result)
            reads += ["", bias]  # a weight that is symmetric has no zero point
        yield helper.make_node("MatMulIntegerToFloat", reads, [result], name=node.name, domain=_CONTRIBUTED)

    int8 = replace_products(model, plan, partial(_quantize, ranges), multiply)
    int8 = rewrite(int8, (node for node in int8.graph.node if node.op_type != "Add" or node.output[0] not in removed))
    int8.opset_import.append(helper.make_opsetid(_CONTRIBUTED, 1))
    return int8


def _bias_sums(model: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """By the name of a value that nothing but the sum with a constant row reads: the names of the sum and the row."""
    rows = {name for name, array in constants_of(model).items() if array.ndim == 1}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for value, (first, *others) in readers.items():
        bias = next((name for name in first.input if name != value), "")
        if first.op_type == "Add" and not others and bias in rows:
            found[value] = (first.output[0], bias)
    return found


def quantize_qdq(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Ranges) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8 for OpenVINO and TensorRT; stock operators only."""

    def quantize(value: str, constants: Constants) -> Iterator[onnx.NodeProto]:
        yield from _quantize(ranges, value, constants)
        rounded = f"{value}.rounded"
        yield helper.make_node("DequantizeLinear", uint8_names(value), [rounded], name=rounded)

    def multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        value, weight = node.input
        floats = f"{weight}.float"
        yield helper.make_node("DequantizeLinear", [f"{weight}.int8", f"{weight}.scale"], [floats], name=floats, axis=1)
        yield helper.make_node("MatMul", [f"{value}.rounded", floats], node.output, name=node.name)

    return replace_products(model, plan, quantize, multiply)


def _quantize(ranges: Ranges, value: str, constants: Constants) -> Iterator[onnx.NodeProto]:
    integers, scale, zero = uint8_names(value)
    constants[scale], constants[zero] = np.array(ranges[value].scale), np.array(ranges[value].zero)
    yield helper.make_node("QuantizeLinear", [value, scale, zero], [integers], name=integers)
