"""How our ONNX graphs are written and rewritten, and the names in them that other modules look for.

A layer's tensors are ``layer.N.attention...`` and ``layer.N.ffn...``; the weight of a MatMul ends in ``.weight``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from compress.runtime.graph_file import OUTPUT, PRODUCER

WORDS = "words"  # the word embeddings, [vocabulary, hidden]
TABLE = ".table"  # the end of the names of tables of distances, [rows, 1, heads, head_size]
# The mask value of padding: added to its attention scores or, in graphs that mask by Min, their upper limit.
MASKED = "masked"
SHOWN = "shown"  # only in graphs that mask by Min: the upper limit of all other scores
MEAN = "mean.axis"  # only in graphs whose head averages all tokens
CLASSIFIER = (f"{OUTPUT}.weight", f"{OUTPUT}.bias")  # the last layer
KEPT_FP32 = CLASSIFIER[0]  # the one weight that stays fp32: it is tiny, and every answer depends on it

# The value of MASKED in fp32: exp() of it is exactly 0, and a row of nothing else still sums to a finite number.
MASK_VALUE = -1e9
NO_LIMIT = 6e4  # the value of SHOWN: fp16 still holds it

# onnx would stamp its newest versions, which runtimes in use refuse.
IR_VERSION = 10
OPSET = 20

Shape = tuple[int, list[str | int | None]]  # the element type, one of TensorProto's, and the dimensions
Constants = dict[str, npt.NDArray[Any]]


def is_table(constant: str) -> bool:
    """Whether a weight of this name is a table, whose rows are looked up and not multiplied with."""
    return constant == WORDS or constant.endswith(TABLE)


class GraphWriter:
    """Collects nodes and constants; values are referred to by name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def ops(self, kind: str, *inputs: str, name: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs; returns their names."""
        results = [f"{name}.{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, results, name=name, **attributes))
        return results

    def constant(self, name: str, value: npt.NDArray[Any] | Sequence[int]) -> str:
        """Add a constant (a sequence of ints becomes int64) unless one of that name is there."""
        if name not in self._constants:
            array = value if isinstance(value, np.ndarray) else np.array(value, dtype=np.int64)
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def extend(self, graph: onnx.GraphProto) -> None:
        """Add the nodes and constants of another graph, which reads values of this one by their names."""
        self._nodes += graph.node
        self._constants |= {tensor.name: tensor for tensor in graph.initializer}

    def graph(self, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> onnx.GraphProto:
        """The collected nodes as a graph with these inputs and outputs."""
        reads, gives = (
            [helper.make_tensor_value_info(value, *shape) for value, shape in shapes.items()]
            for shapes in (inputs, outputs)
        )
        return helper.make_graph(self._nodes, name, reads, gives, list(self._constants.values()))


def model_of(graph: onnx.GraphProto, *domains: str) -> onnx.ModelProto:
    """A model from ``graph``, which also needs version 1 of the operators of these ``domains``."""
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, producer_name=PRODUCER, opset_imports=opsets)
    model.ir_version = IR_VERSION
    return model


def constants_of(model: onnx.ModelProto) -> Constants:
    """The model's constants by name, in order."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def rewrite(
    model: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto] | None = None,
    constants: Mapping[str, npt.NDArray[Any]] | None = None,
    outputs: Iterable[str] = (),
) -> onnx.ModelProto:
    """A copy of ``model`` with these ``nodes`` and ``constants`` in place of its own, where given.

    The copy also returns the values ``outputs``, whose types ONNX Runtime infers.
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
