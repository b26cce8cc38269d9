"""The static int8 rewrite: (model, ranges) -> model with 8-bit weights and activations in ranges fixed beforehand.

Rules:
1. ``MatMul(x, constant W)`` becomes ``MatMul(x', W')``: ``x'`` is x through ``QuantizeLinear`` to uint8 in its range
   and ``DequantizeLinear`` back, once for all products that read x; ``W'`` is int8, symmetric by column, through
   ``DequantizeLinear``. Runtimes that know the pattern (OpenVINO, TensorRT, ONNX Runtime) compute it in integers.
2. The word table and the weights that stay fp32 are as in the dynamic rewrite.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper

from compress.graph.rewrite import Constants
from compress.quantization.dynamic import QuantizationPlan, replace_products
from compress.quantization.ranges import Range


def quantize_static(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8; stock operators only.

    Args:
        model: the fp32 model.
        plan: which weights, in which range of integers.
        ranges: of each value that a product reads.
    """

    def quantize(value: str, constants: Constants) -> Iterator[onnx.NodeProto]:
        integers, scale, zero = f"{value}.uint8", f"{value}.uint8_scale", f"{value}.uint8_zero"
        constants[scale], constants[zero] = np.array(ranges[value].scale), np.array(ranges[value].zero)
        yield helper.make_node("QuantizeLinear", [value, scale, zero], [integers], name=integers)
        rounded = f"{value}.rounded"
        yield helper.make_node("DequantizeLinear", [integers, scale, zero], [rounded], name=rounded)

    return replace_products(model, plan, quantize, _multiply)


def _multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    value, weight = node.input
    floats = f"{weight}.float"
    yield helper.make_node("DequantizeLinear", [f"{weight}.int8", f"{weight}.scale"], [floats], name=floats, axis=1)
    yield helper.make_node("MatMul", [f"{value}.rounded", floats], node.output, name=node.name)
