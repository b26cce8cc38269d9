"""How a graph is rewritten: read its constants by name, then make a copy with other nodes, constants or outputs."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

Constants = dict[str, npt.NDArray[Any]]


def constants_of(model: onnx.ModelProto) -> Constants:
    """The model's constants by name, in order."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def rewrite(
    model: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto] | None = None,
    constants: Mapping[str, npt.NDArray[Any]] | None = None,
    outputs: Iterable[str] = (),
) -> onnx.ModelProto:
    """A copy of ``model``, which stays as it is.

    Args:
        model: the model.
        nodes: all nodes of the copy, in order; default: the model's.
        constants: all constants of the copy by name; default: the model's.
        outputs: values that the copy returns besides the model's outputs; ONNX Runtime infers their types.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if nodes is not None:
        del copy.graph.node[:]
        copy.graph.node.extend(nodes)
    if constants is not None:
        del copy.graph.initializer[:]
        copy.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return copy
