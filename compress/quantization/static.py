"""The static int8 rewrite: (model, ranges) -> model with 8-bit weights and activations in ranges fixed beforehand.

Rules:
1. ``MatMul(x, constant W)`` becomes ``MatMul(x', W')``: ``x'`` is x through ``QuantizeLinear`` to uint8 in its range
   and ``DequantizeLinear`` back, once for all that read x; ``W'`` is int8, symmetric by column, through
   ``DequantizeLinear``. Runtimes that know the pattern (OpenVINO, TensorRT, ONNX Runtime) compute it in integers.
2. The word table and what stays fp32 are as in the dynamic rewrite.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from compress.quantization.activations import products
from compress.quantization.dynamic import FULL_RANGE, WORDS, QuantizationPlan, quantize_columns, quantize_weights
from compress.quantization.ranges import Range

Constants = dict[str, npt.NDArray[np.generic]]


def quantize_static(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8; stock operators only.

    Args:
        model: the fp32 model.
        plan: which weights, in which range of integers.
        ranges: of each value that a product reads.
    """
    reads = products(model)
    quantized = quantize_weights(model, QuantizationPlan(plan.kept_fp32 | reads.keys()))  # the word table alone
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    constants: Constants = dict(weights)
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in quantized.graph.node:
        weight = node.input[1] if node.op_type == "MatMul" else WORDS
        if weight not in reads or weight in plan.kept_fp32:
            nodes.append(node)
            continue
        value = node.input[0]
        if value not in done:
            nodes += _rounded(value, ranges[value], constants)
            done.add(value)
        largest = plan.largest.get(weight, FULL_RANGE)
        integers, scale = quantize_columns(constants.pop(weight), largest)  # type: ignore[arg-type]  # fp32
        constants[f"{weight}.int8"], constants[f"{weight}.scale"] = integers, scale
        dequantize = partial(helper.make_node, "DequantizeLinear", axis=1)
        nodes.append(dequantize([f"{weight}.int8", f"{weight}.scale"], [f"{weight}.float"], name=f"{weight}.float"))
        nodes.append(helper.make_node("MatMul", [f"{value}.rounded", f"{weight}.float"], node.output, name=node.name))
    del quantized.graph.node[:], quantized.graph.initializer[:]
    quantized.graph.node.extend(nodes)
    quantized.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return quantized


def _rounded(value: str, covered: Range, constants: Constants) -> Iterator[onnx.NodeProto]:
    """``value`` to uint8 and back."""
    integers, scale, zero, rounded = (f"{value}.{what}" for what in ("uint8", "uint8_scale", "uint8_zero", "rounded"))
    constants[scale], constants[zero] = np.array(covered.scale), np.array(covered.zero)
    yield helper.make_node("QuantizeLinear", [value, scale, zero], [integers], name=integers)
    yield helper.make_node("DequantizeLinear", [integers, scale, zero], [rounded], name=rounded)
