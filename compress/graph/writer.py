"""How our ONNX graphs are written and rewritten, and the names in them that others look for.

A layer's tensors are ``layer.N.attention...`` and ``layer.N.ffn...``; a product's weight ends in ``.weight``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from compress.runtime.graph_file import OUTPUT, PRODUCER

WORDS = "words"  # the word embeddings, [vocabulary, hidden]
TABLE = ".table"  # ends the names of tables of distances, [rows, 1, heads, head_size]
MASKED = "masked"  # the number that hides padding: added to its attention scores, or the most that they may be
SHOWN = "shown"  # there where MASKED is a most: that of all other scores
MEAN = "mean.axis"  # there where the head reads the mean of all tokens and not the first one
CLASSIFIER = (f"{OUTPUT}.weight", f"{OUTPUT}.bias")  # the last layer
KEPT_FP32 = CLASSIFIER[0]  # the one product that is never reduced: it is tiny, and every answer depends on it

# That number in fp32: exp() of it is exactly 0, and a row of nothing else still sums to a finite number.
HIDES = -1e9
SHOWS = 6e4  # that of SHOWN, which fp16 still holds

# onnx would stamp its newest versions, which the runtimes that people have refuse.
IR_VERSION = 10
OPSET = 20

Shape = tuple[int, list[str | int | None]]  # the type of an element (of TensorProto), and the dimensions
Constants = dict[str, npt.NDArray[Any]]


def is_table(constant: str) -> bool:
    """Whether the rows of a weight of this name are looked up, and not multiplied with."""
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
            [helper.make_tensor_value_info(value, *of) for value, of in each.items()] for each in (inputs, outputs)
        )
        return helper.make_graph(self._nodes, name, reads, gives, list(self._constants.values()))


def model_of(graph: onnx.GraphProto, *domains: str) -> onnx.ModelProto:
    """A model of ours, which also needs the first version of the operators of these ``domains``."""
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
    """A copy of ``model`` with these ``nodes`` and ``constants`` for its own, where given.

    It also returns the values ``outputs``, whose types ONNX Runtime infers.
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
