"""The fp16 rewrite: (model) -> model that a GPU computes in half precision. And the refusal of models that it breaks.

Rules:
1. Constants and with them all values become fp16; the classifier's own product stays fp32, as it does in int8.
2. What hides padding becomes -10,000: -1e9 is minus infinity in fp16, and 0 times that is not a number. Its exp() is 0.
3. Layer norm and softmax stay single operators: onnxruntime's GPU kernels add up in fp32 inside them.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.errors import CompressError
from compress.quantization.dynamic import KEPT_FP32
from compress.runtime.encoding import Feeds
from compress.runtime.session import open_session

LARGEST = float(np.finfo(np.float16).max)
_MASKED = "masked"
_HIDES_PADDING = -1e4
_CLASSIFIER = ("logits.weight", "logits.bias")


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in fp16: token ids in, float32 logits out.

    Raises:
        CompressError: a weight is beyond fp16; names it.
    """
    halved = _with_mask(model, _HIDES_PADDING)
    for tensor in halved.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in _CLASSIFIER:
            array = numpy_helper.to_array(tensor)
            if not np.abs(array).max(initial=0) <= LARGEST:
                raise CompressError(_too_large(tensor.name, float(np.abs(array).max())))
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), tensor.name))
    nodes = [new for node in halved.graph.node for new in _halved(node)]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved


def check_range(model: onnx.ModelProto, batches: Iterable[Feeds], threads: int) -> float:
    """The largest magnitude that any layer of the fp32 ``model`` gives on ``batches``.

    A CPU computes an fp16 graph in fp32, so that running it here would not show what overflows on a GPU.

    Raises:
        CompressError: fp16 cannot hold it; names the layer.
    """
    # Padding takes part: what hides it would be the largest value of all.
    watched, names = _watching(_with_mask(model, 0.0), threads)
    session = open_session(watched.SerializeToString(), threads)
    largest: npt.NDArray[np.float32] = np.zeros(len(names), np.float32)
    for feeds in batches:
        largest = np.maximum(largest, np.stack(session.run([f"{name}.largest" for name in names], feeds)))
    for name, value in zip(names, largest.tolist(), strict=True):  # in the graph's order: the first is the cause
        if not value <= LARGEST:
            raise CompressError(_too_large(name, value))
    return float(largest.max())


def _too_large(name: str, value: float) -> str:
    return (
        f"export: {name} reaches {value:.3g} and fp16 holds {LARGEST:.0f} at most, so that a GPU would answer with "
        "infinities; nothing was written, export it with --precision fp32"
    )


def _halved(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    if node.op_type == "Cast":
        for attribute in node.attribute:
            attribute.i = TensorProto.FLOAT16 if attribute.i == TensorProto.FLOAT else attribute.i
    if any(weight in node.input for weight in KEPT_FP32):
        value = node.input[0]
        node.input[0] = f"{value}.fp32"
        yield helper.make_node("Cast", [value], [f"{value}.fp32"], name=f"{value}.fp32", to=TensorProto.FLOAT)
    yield node


def _with_mask(model: onnx.ModelProto, hides: float) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name == _MASKED:
            tensor.CopyFrom(numpy_helper.from_array(np.array(hides, np.float32), tensor.name))
    return copy


def _watching(model: onnx.ModelProto, threads: int) -> tuple[onnx.ModelProto, list[str]]:
    """The model with the largest magnitude of each float value as an output, and the values in order."""
    everything = onnx.ModelProto()
    everything.CopyFrom(model)
    there = {value.name for value in model.graph.output}
    everything.graph.output.extend(
        onnx.ValueInfoProto(name=name) for node in model.graph.node for name in node.output if name not in there
    )
    outputs = open_session(everything.SerializeToString(), threads).get_outputs()
    floats = {output.name for output in outputs if output.type == "tensor(float)"}
    names = [name for node in model.graph.node for name in node.output if name in floats]
    for name in names:
        magnitude, largest = f"{name}.magnitude", f"{name}.largest"
        model.graph.node.append(helper.make_node("Abs", [name], [magnitude], name=magnitude))
        model.graph.node.append(helper.make_node("ReduceMax", [magnitude], [largest], name=largest, keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info(largest, TensorProto.FLOAT, []))
    return model, names
