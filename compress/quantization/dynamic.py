"""The dynamic int8 rewrite: 8-bit weights, and activations that are quantized as they come.

Rules:
1. ``MatMul(x, constant W)`` becomes ``DynamicQuantizeLinear(x)``, ``MatMulInteger`` and a rescale, in the pattern that
   ONNX Runtime fuses into one kernel; a value that several MatMuls read is quantized once. W is int8, symmetric, with
   a scale for each column (per channel), in the range of integers that the plan says; activations are uint8. (Int8
   weights ran eight times faster than uint8 ones on CPUs with VNNI.)
2. The tables of words and of distances become int8 with a scale for each column, dequantized after the lookup by Cast
   and Mul (DequantizeLinear per channel took 4 times as long). The table of words may become int4 (``int4_table``).
3. The classifier's own MatMul stays fp32, and so do weights that the plan names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from compress.graph.writer import KEPT_FP32, WORDS, Constants, constants_of, is_table, rewrite
from compress.quantization.int4_table import lookup_int4

FULL_RANGE = 127

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QuantizationPlan:
    """Which weights stay fp32, and which integers the others use."""

    kept_fp32: frozenset[str] = frozenset()  # names of weights
    # By weight, the largest integer of each column, [columns]; weights that are not named use all, up to 127.
    largest: Mapping[str, Integers] = field(default_factory=dict)
    int4_words: bool = False  # the table of words in 4 bits


# From an fp32 model and a plan to a copy in int8.
Rewrite = Callable[[onnx.ModelProto, QuantizationPlan], onnx.ModelProto]


def quantizable(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.float32]]:
    """The weights of an fp32 model of ours that quantization may touch, ``[rows, ...]``, in the graph's order."""
    constants = constants_of(model)
    return {
        name: constants[name]
        for node in model.graph.node
        for name in node.input
        if name in constants
        and ((node.op_type == "MatMul" and name != KEPT_FP32) or (node.op_type == "Gather" and is_table(name)))
    }


def matmul_inputs(model: onnx.ModelProto) -> dict[str, str]:
    """The name of the value that each weight of an fp32 model of ours is multiplied with, by the weight's name."""
    weights = quantizable(model)
    nodes = (node for node in model.graph.node if node.op_type == "MatMul")
    return {node.input[1]: node.input[0] for node in nodes if node.input[1] in weights}


def quantize_weights(model: onnx.ModelProto, plan: QuantizationPlan = QuantizationPlan()) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in dynamic int8; stock operators only."""
    return replace_matmuls(model, plan, _quantize, _multiply)


def replace_matmuls(
    model: onnx.ModelProto,
    plan: QuantizationPlan,
    quantize: Callable[[str, Constants], Iterator[onnx.NodeProto]],
    multiply: Callable[[onnx.NodeProto], Iterator[onnx.NodeProto]],
) -> onnx.ModelProto:
    """A copy of an fp32 model of ours with int8 weights, the constants ``NAME.int8`` and ``NAME.scale``.

    Args:
        model: the fp32 model.
        plan: which weights, in which range of integers; words in int4 become ``words.int4``, two integers in each.
        quantize: gives the nodes that quantize the value of a name, for all MatMuls that read it; may add constants.
        multiply: gives the nodes that take a ``MatMul``'s place.
    """
    weights = {name: weight for name, weight in quantizable(model).items() if name not in plan.kept_fp32}
    constants, nodes, quantized = constants_of(model), list[onnx.NodeProto](), set[str]()
    for node in model.graph.node:
        name = next((name for name in node.input if name in weights), None)
        if name is None:
            nodes.append(node)
            continue
        if node.op_type == "MatMul" and node.input[0] not in quantized:
            nodes += quantize(node.input[0], constants)
            quantized.add(node.input[0])
        del constants[name]
        if name == WORDS and plan.int4_words:
            nodes += lookup_int4(node, weights[name], constants)
            continue
        constants[f"{name}.int8"], constants[f"{name}.scale"] = quantize_columns(
            weights[name], plan.largest.get(name, FULL_RANGE)
        )
        nodes += multiply(node) if node.op_type == "MatMul" else _lookup(node)
    return rewrite(model, nodes, constants)


def quantize_columns(
    weight: npt.NDArray[np.float32], largest: int | Integers = FULL_RANGE
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """The integers and scales of a weight in symmetric int8 by column (per channel): ``weight ~ integers * scale``.

    Integers are ``[rows, ...]``, scales ``[...]``: tables of distances have several axes of columns. ``largest`` is
    the largest integer to use, at most 127, for all columns or for each.
    """
    peak = np.abs(weight).max(axis=0)
    scale = (np.where(peak == 0, 1, peak) / largest).astype(np.float32)
    return np.clip(np.rint(weight / scale), -largest, largest).astype(np.int8), scale


def _quantize(value: str, _: Constants) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("DynamicQuantizeLinear", [value], uint8_names(value), name=f"{value}.uint8")


def uint8_names(value: str) -> tuple[str, str, str]:
    """Names of an activation's integers, scale and zero point."""
    return f"{value}.uint8", f"{value}.uint8_scale", f"{value}.uint8_zero"


def _multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    (value, weight), (result,) = node.input, node.output
    integers, scale, zero = uint8_names(value)
    product, floats, rescale = f"{result}.int32", f"{result}.float", f"{result}.scale"
    yield helper.make_node("MatMulInteger", [integers, f"{weight}.int8", zero], [product], name=product)
    yield helper.make_node("Cast", [product], [floats], name=floats, to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [scale, f"{weight}.scale"], [rescale], name=rescale)
    yield helper.make_node("Mul", [floats, rescale], [result], name=result)


def _lookup(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    (table, ids), (result,) = node.input, node.output
    integers, floats = f"{result}.int8", f"{result}.float"
    yield helper.make_node("Gather", [f"{table}.int8", ids], [integers], name=integers)
    yield helper.make_node("Cast", [integers], [floats], name=floats, to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [floats, f"{table}.scale"], [result], name=result)
