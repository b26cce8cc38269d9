"""The fp16 rewrite, for GPUs that compute in half precision, and the check that nothing overflows.

Rules:
1. Constants and with them all values become fp16; the classifier's own MatMul stays fp32, as it does in int8.
2. The mask value becomes -10,000: -1e9 is minus infinity in fp16, and 0 times infinity is not a number. Softmax makes
   either 0.
3. Layer norm and softmax stay single operators: ONNX Runtime's GPU kernels add up in fp32 inside them.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from compress.errors import CompressError
from compress.graph.writer import CLASSIFIER, KEPT_FP32, MASKED, constants_of, rewrite
from compress.runtime.encoding import Feeds
from compress.runtime.session import inputs_of, open_session

LARGEST = float(np.finfo(np.float16).max)
_MASK_VALUE = -1e4


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in fp16: token ids in, float32 logits out; fp16 must hold its weights."""
    constants = constants_of(model) | {MASKED: np.array(_MASK_VALUE, np.float32)}
    for name, array in constants.items():
        if array.dtype == np.float32 and name not in CLASSIFIER:
            largest = float(np.abs(array).max(initial=0))
            _check_fits(name, largest)
            constants[name] = array.astype(np.float16)
    return rewrite(model, (new for node in model.graph.node for new in _halved(node)), constants)


def check_range(model: onnx.ModelProto, batches: Iterable[Feeds], threads: int) -> float:
    """The largest magnitude of any value in the fp32 ``model`` on ``batches``; fp16 must be able to hold it.

    A CPU computes an fp16 graph in fp32, so running the fp16 graph here would not show what overflows on a GPU.
    """
    # Scores are measured before they are masked: the mask value would be the largest of all.
    values = [*onnx.shape_inference.infer_shapes(model).graph.value_info, *model.graph.output]
    floats = [value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    masked = _masked(model)
    names = [name for name in floats if name not in masked]
    session = open_session(_with_magnitudes(model, names).SerializeToString(), threads)
    largest: npt.NDArray[np.float32] = np.zeros(len(names), np.float32)
    for feeds in batches:
        read = {name: feeds[name] for name in inputs_of(session)}
        largest = np.maximum(largest, np.stack(session.run([f"{name}.largest" for name in names], read)))
    for name, value in zip(names, largest.tolist(), strict=True):  # in the graph's order: the first is the cause
        _check_fits(name, value)
    return float(largest.max())


def _masked(model: onnx.ModelProto) -> set[str]:
    """The names of the masks and of the masked scores."""
    masked = {MASKED}
    for node in model.graph.node:
        if node.op_type != "Softmax" and masked.intersection(node.input):
            masked.update(node.output)
    return masked


def _check_fits(name: str, value: float) -> None:
    if not value <= LARGEST:  # also catches NaN
        raise CompressError(
            f"export: {name} reaches {value:.3g} and fp16 holds at most {LARGEST:.0f}, so a GPU would answer with "
            "infinities; nothing was written, export it with --precision fp32"
        )


def _halved(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if node.op_type == "Cast":
        for attribute in copy.attribute:
            attribute.i = TensorProto.FLOAT16 if attribute.i == TensorProto.FLOAT else attribute.i
    if KEPT_FP32 in node.input:
        value = node.input[0]
        copy.input[0] = f"{value}.fp32"
        yield helper.make_node("Cast", [value], [f"{value}.fp32"], name=f"{value}.fp32", to=TensorProto.FLOAT)
    yield copy


def _with_magnitudes(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """``model`` that also returns ``NAME.largest``, the largest magnitude of each of its values ``names``."""
    nodes, outputs = list(model.graph.node), []
    for name in names:
        magnitude, largest = f"{name}.magnitude", f"{name}.largest"
        nodes.append(helper.make_node("Abs", [name], [magnitude], name=magnitude))
        nodes.append(helper.make_node("ReduceMax", [magnitude], [largest], name=largest, keepdims=0))
        outputs.append(largest)
    return rewrite(model, nodes, outputs=outputs)
