"""The int8 rewrite: (model) -> model with 8-bit weights and dynamically quantized activations.

Rules:
1. ``MatMul(x, constant W)`` becomes ``DynamicQuantizeLinear(x)``, ``MatMulInteger`` and a rescale, in the pattern that
   ONNX Runtime fuses into one kernel; what several products read is quantized once. W is int8, symmetric, with a scale
   for each column, which uses the range that the plan gives it; activations are uint8. (Int8 weights ran eight times
   faster than uint8 ones on CPUs with VNNI.)
2. The word table becomes int8 with a scale for each column, dequantized after the lookup by Cast and Mul
   (DequantizeLinear by column took 4 times as long).
3. The classifier's own product stays fp32: it is tiny and the answers hang on it. So do weights that the plan names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

KEPT_FP32 = ("logits.weight",)
WORDS = "words"
FULL_RANGE = 127

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QuantizationPlan:
    """How to quantize which weights.

    Attributes:
        kept_fp32: names of weights that stay as they are.
        largest: the largest integer that each column of a weight may use, ``[columns]``; 127 for weights not in it.
    """

    kept_fp32: frozenset[str] = frozenset()
    largest: Mapping[str, Integers] = field(default_factory=dict)


def quantizable(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.float32]]:
    """The weights of an fp32 model of ours that quantization may touch, ``[rows, columns]``, in the graph's order."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    return {name: numpy_helper.to_array(tensors[name]) for name in _quantizable_names(model)}


def _quantizable_names(model: onnx.ModelProto) -> list[str]:
    constants = {tensor.name for tensor in model.graph.initializer}
    read = ((node.op_type, name) for node in model.graph.node for name in node.input if name in constants)
    return [
        name
        for kind, name in read
        if (kind == "MatMul" and name not in KEPT_FP32) or (kind == "Gather" and name == WORDS)
    ]


def quantize_weights(model: onnx.ModelProto, plan: QuantizationPlan = QuantizationPlan()) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in int8; stock operators only."""
    chosen = set(_quantizable_names(model)) - plan.kept_fp32
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    constants: dict[str, npt.NDArray[np.generic]] = dict(weights)
    nodes: list[onnx.NodeProto] = []
    quantized_values: set[str] = set()
    for node in model.graph.node:
        weight = next((name for name in node.input if name in weights), None)
        if weight not in chosen:
            nodes.append(node)
            continue
        _replace(constants, weight, plan.largest.get(weight, FULL_RANGE))
        if node.op_type == "Gather":
            nodes += _lookup(node, weight)
            continue
        if (value := node.input[0]) not in quantized_values:
            nodes.append(_quantize(value))
            quantized_values.add(value)
        nodes += _matmul(node, weight)
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    del quantized.graph.node[:], quantized.graph.initializer[:]
    quantized.graph.node.extend(nodes)
    quantized.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return quantized


def quantize_columns(
    weight: npt.NDArray[np.float32], largest: int | Integers = FULL_RANGE
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric int8 by column: ``weight ~ int8 * scale``, ``[rows, columns]`` and ``[columns]``.

    Args:
        weight: fp32 ``[rows, columns]``.
        largest: the largest integer to use, at most 127; for all columns or for each.
    """
    reach = np.abs(weight).max(axis=0)
    scale = (np.where(reach == 0, 1, reach) / largest).astype(np.float32)
    return np.clip(np.rint(weight / scale), -largest, largest).astype(np.int8), scale


def _replace(constants: dict[str, npt.NDArray[np.generic]], name: str, largest: int | Integers) -> None:
    """Swap an fp32 constant for ``name.int8`` and ``name.scale``."""
    integers, scale = quantize_columns(constants.pop(name), largest)  # type: ignore[arg-type]  # weights are fp32
    constants[f"{name}.int8"], constants[f"{name}.scale"] = integers, scale


def _quantize(value: str) -> onnx.NodeProto:
    return helper.make_node("DynamicQuantizeLinear", [value], _uint8(value), name=f"{value}.uint8")


def _uint8(value: str) -> tuple[str, str, str]:
    """Names of an activation's integers, scale and zero point."""
    return f"{value}.uint8", f"{value}.uint8_scale", f"{value}.uint8_zero"


def _matmul(node: onnx.NodeProto, weight: str) -> Iterator[onnx.NodeProto]:
    (value, _), (result,) = node.input, node.output
    integers, scale, zero = _uint8(value)
    product, floats, rescale = f"{result}.int32", f"{result}.float", f"{result}.scale"
    yield helper.make_node("MatMulInteger", [integers, f"{weight}.int8", zero], [product], name=product)
    yield helper.make_node("Cast", [product], [floats], name=floats, to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Mul", [scale, f"{weight}.scale"], [rescale], name=rescale)
    yield helper.make_node("Mul", [floats, rescale], [result], name=result)


def _lookup(node: onnx.NodeProto, table: str) -> Iterator[onnx.NodeProto]:
    (_, ids), (result,) = node.input, node.output
    integers, floats = f"{result}.int8", f"{result}.float"
    yield helper.make_node("Gather", [f"{table}.int8", ids], [integers], name=integers)
    yield helper.make_node("Cast", [integers], [floats], name=floats, to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Mul", [floats, f"{table}.scale"], [result], name=result)
