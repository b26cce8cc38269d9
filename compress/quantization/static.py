"""Static int8: 8-bit weights, and activations in ranges that are fixed beforehand from real texts.

The inputs of MatMuls are counted in histograms (``collect``), a range of each is chosen (``ranges``), and the graph is
rewritten, so that a text's answer does not depend on the texts in its batch. Rules of the rewrite of ``MatMul(x, W)``:
1. ``x`` goes through ``QuantizeLinear`` to uint8 in its range, once for all MatMuls that read it. W is int8, symmetric
   by column (per channel). The word table and the weights that stay fp32 are as in the dynamic rewrite.
2. For ONNX Runtime (``quantize_static``) the product, its scales and its bias are one ``MatMulIntegerToFloat``, an
   operator of ONNX Runtime's own, which no fusion makes of stock operators.
3. For OpenVINO and TensorRT (``quantize_qdq``) ``MatMul(x, W)`` stays and reads both through ``DequantizeLinear``, the
   pattern of stock operators that these runtimes compute in integers.
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
from compress.quantization.dynamic import QuantizationPlan, matmul_inputs, replace_matmuls, uint8_names
from compress.quantization.ranges import Histogram, Range
from compress.quantization.reference import Candidate
from compress.quantization.saturation import ObservedRange
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Predictor, encoded_logits

_CONTRIBUTED = "com.microsoft"  # the domain of ONNX Runtime's own operators
Ranges = Mapping[str, Range]


@dataclass(frozen=True)
class ActivationStatistics:
    """One MatMul input over all texts: its numbers, and the smallest and largest in each column."""

    histogram: Histogram
    low: npt.NDArray[np.float32]  # [columns], one for each row of the weight
    high: npt.NDArray[np.float32]

    def as_uint8(self, static: Range) -> ObservedRange:
        """The smallest and largest uint8 of each column in the range ``static``."""
        steps = (np.rint(end / static.scale) + int(static.zero) for end in (self.low, self.high))
        low, high = (step.clip(0, 255).astype(np.int64) for step in steps)
        return ObservedRange(low, high)


def collect(
    model: onnx.ModelProto, parent: Predictor, encodings: Sequence[Encoding], threads: int
) -> dict[str, ActivationStatistics]:
    """Run the fp32 ``model`` on each text alone; returns the statistics of its MatMul inputs, by the value's name."""
    names = list(dict.fromkeys(matmul_inputs(model).values()))
    collected: dict[str, ActivationStatistics] = {}

    def add(arrays: Sequence[npt.NDArray[Any]]) -> None:
        for name, array in zip(names, arrays, strict=True):
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            before = collected.get(name, ActivationStatistics(Histogram(), low, high))
            collected[name] = ActivationStatistics(
                before.histogram.add(array), np.minimum(before.low, low), np.maximum(before.high, high)
            )

    with progress("activations", len(encodings)) as advance:
        encoded_logits(Candidate(model, parent, threads, names, add), encodings, advance)
    return collected


def quantize_static(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Ranges) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8 for ONNX Runtime, with ``ranges`` of MatMul inputs."""
    sums, removed = _bias_sums(model), set[str]()

    def multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        (value, weight), (result,) = node.input, node.output
        integers, scale, zero = uint8_names(value)
        reads = [integers, f"{weight}.int8", scale, f"{weight}.scale", zero]
        if result in sums:
            result, bias = sums[result]
            removed.add(result)
            reads += ["", bias]  # symmetric weights have no zero point
        yield helper.make_node("MatMulIntegerToFloat", reads, [result], name=node.name, domain=_CONTRIBUTED)

    int8 = replace_matmuls(model, plan, partial(_quantize, ranges), multiply)
    int8 = rewrite(int8, (node for node in int8.graph.node if node.op_type != "Add" or node.output[0] not in removed))
    int8.opset_import.append(helper.make_opsetid(_CONTRIBUTED, 1))
    return int8


def _bias_sums(model: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Biases to fuse: for each value that only its sum with a constant row reads, the names of that sum and row."""
    rows = {name for name, array in constants_of(model).items() if array.ndim == 1}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    sums = {}
    for value, (first, *others) in readers.items():
        bias = next((name for name in first.input if name != value), "")
        if first.op_type == "Add" and not others and bias in rows:
            sums[value] = (first.output[0], bias)
    return sums


def quantize_qdq(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Ranges) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8 for OpenVINO and TensorRT, with ``ranges`` of MatMul inputs."""

    def quantize(value: str, constants: Constants) -> Iterator[onnx.NodeProto]:
        yield from _quantize(ranges, value, constants)
        rounded = f"{value}.rounded"
        yield helper.make_node("DequantizeLinear", uint8_names(value), [rounded], name=rounded)

    def multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        value, weight = node.input
        floats = f"{weight}.float"
        yield helper.make_node("DequantizeLinear", [f"{weight}.int8", f"{weight}.scale"], [floats], name=floats, axis=1)
        yield helper.make_node("MatMul", [f"{value}.rounded", floats], node.output, name=node.name)

    return replace_matmuls(model, plan, quantize, multiply)


def _quantize(ranges: Ranges, value: str, constants: Constants) -> Iterator[onnx.NodeProto]:
    integers, scale, zero = uint8_names(value)
    constants[scale], constants[zero] = np.array(ranges[value].scale), np.array(ranges[value].zero)
    yield helper.make_node("QuantizeLinear", [value, scale, zero], [integers], name=integers)
