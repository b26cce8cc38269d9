"""A small writer of ONNX graphs: nodes in order, constants by name, one inline file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.runtime.graph_file import PRODUCER

# onnx would stamp its newest versions, which the runtimes that people have refuse.
IR_VERSION = 10
OPSET = 20

Shape = tuple[int, list[str | int | None]]  # the type of an element (of TensorProto), and the dimensions


class GraphWriter:
    """Collects nodes and constants; values are referred to by name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, name: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; returns the name of its output, or a list of them where there are several."""
        results = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, results, name=name, **attributes))
        return results[0] if outputs == 1 else results

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

    def scalar(self, name: str, value: float) -> str:
        """Add a float32 scalar."""
        return self.constant(name, np.array(value, dtype=np.float32))

    def graph(self, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> onnx.GraphProto:
        """What was collected, as a graph with these inputs and outputs."""
        reads, gives = (
            [helper.make_tensor_value_info(value, *of) for value, of in each.items()] for each in (inputs, outputs)
        )
        return helper.make_graph(self._nodes, name, reads, gives, list(self._constants.values()))

    def finish(self, inputs: Sequence[str], output: str, labels: int) -> onnx.ModelProto:
        """The model: int64 ``inputs`` ``[batch, sequence]``, one float32 ``output`` ``[batch, labels]``."""
        reads: dict[str, Shape] = {name: (TensorProto.INT64, ["batch", "sequence"]) for name in inputs}
        return model_of(self.graph("bert-classifier", reads, {output: (TensorProto.FLOAT, ["batch", labels])}))


def model_of(graph: onnx.GraphProto, *domains: str) -> onnx.ModelProto:
    """A model of ours, which also needs the first version of the operators of these ``domains``."""
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, producer_name=PRODUCER, opset_imports=opsets)
    model.ir_version = IR_VERSION
    return model
