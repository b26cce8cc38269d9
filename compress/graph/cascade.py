"""Two networks of ours in one graph: the second is computed only where the first is not sure."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from compress.graph.writer import GraphWriter, Shape, model_of
from compress.runtime.graph_file import INPUTS, OUTPUT


def join(
    small: onnx.ModelProto, large: onnx.ModelProto, hand_on_below: float, columns: Sequence[int]
) -> onnx.ModelProto:
    """A network from the token ids of one text, the same for ``small`` and ``large``, to its logits ``[1, labels]``.

    The logits are the small network's, in the order of ``columns``, if the highest of their softmax is at least
    ``hand_on_below``; else the large one's.
    """
    first, second = _prefixed(small, "small."), _prefixed(large, "large.")
    answer: Shape = TensorProto.FLOAT, ["batch", len(columns)]
    kept, handed_on, whole = GraphWriter(), GraphWriter(), GraphWriter()
    whole.extend(first.graph)
    own = first.graph.output[0].name
    score = whole.op("ReduceMax", whole.op("Softmax", own, name="small.scores"), name="small.score", keepdims=0)
    exact = whole.op("Cast", score, name="small.score.exact", to=TensorProto.DOUBLE)  # as compress.load compares it
    unsure = whole.op("Less", exact, whole.constant("hand_on_below", np.array(hand_on_below)), name="unsure")
    kept.op("Gather", own, kept.constant("columns", columns), name="small.answer", axis=1)
    handed_on.extend(second.graph)
    handed_on.op("Identity", second.graph.output[0].name, name="large.answer")
    chosen = whole.op(
        "If",
        unsure,
        name=f"joined.{OUTPUT}",
        then_branch=handed_on.graph("large", {}, {"large.answer": answer}),
        else_branch=kept.graph("small", {}, {"small.answer": answer}),
    )
    read = {value.name for model in (small, large) for value in model.graph.input}
    reads: dict[str, Shape] = {name: (TensorProto.INT64, ["batch", "sequence"]) for name in INPUTS if name in read}
    domains = {opset.domain for model in (small, large) for opset in model.opset_import if opset.domain}
    return model_of(whole.graph("cascade", reads, {chosen: answer}), *sorted(domains))


def _prefixed(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """A copy in which every name but the inputs' begins with ``prefix``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {"", *(value.name for value in copy.graph.input)}  # an input that is left out has no name
    for node in copy.graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [name if name in kept else prefix + name for name in names]
    for value in (*copy.graph.initializer, *copy.graph.output):
        value.name = prefix + value.name
    return copy
