"""Does ONNX Runtime run the graph by the kernels that it is laid out for? Counted, because a miss is only slow.

Expected counts are of the fp32 graph's own nodes; found counts are of the kernels that a session really runs, after
ONNX Runtime's own rewriting.
"""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx

from compress.graph.profile import profile
from compress.graph.writer import KEPT_FP32
from compress.progress import say
from compress.runtime.graph_file import graph_inputs

# The kernels that count as each pattern.
_KERNELS = {
    "attention_products": ("FusedMatMul",),  # read their factors in place; two for each layer with heads
    "packed_projections": ("Split",),  # query, key and value (in the last layer key and value) by one product
    "int8_products": ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),  # with all the quantizing around them
    "activations": ("Gelu", "BiasGelu", "FastGelu", "Relu", "Tanh", "FusedGemm"),  # the last: in the head
    "layer_norms": ("LayerNormalization",),  # not fused with the sum before, which is slower
    "gathers": ("Gather",),  # rows of embedding tables, and the first token
}
Patterns = dict[str, int]


def check_patterns(graph: Path, expected: Patterns) -> dict[str, Patterns]:
    """How often a session for the file ``graph`` runs each pattern, for the manifest.

    Where that is not as ``expected``, the model answers rightly but slowly: one line on stderr says so, and
    ``patterns_expected`` holds the numbers that were expected instead.
    """
    ids = np.ones((1, 2), dtype=np.int64)
    feeds = {name: ids if name == "attention_mask" else ids - 1 for name in graph_inputs(graph)}
    kernels = Counter(node.kernel for node in profile(graph, feeds, calls=1))
    found = {kind: sum(kernels[name] for name in names) for kind, names in _KERNELS.items()}
    missed = {kind: count for kind, count in expected.items() if found[kind] != count}
    if not missed:
        return {"patterns": found}
    counts = ", ".join(f"{found[kind]} {kind} where {count} are expected" for kind, count in missed.items())
    say(
        f"warning: {graph.name}: this onnxruntime runs {counts}, so the model may be slow here; measure it with "
        "'compress bench', or install the onnxruntime that constraints.txt names"
    )
    return {"patterns": found, "patterns_expected": missed}


def expected_patterns(model: onnx.ModelProto, kept_fp32: Collection[str] | None = None) -> Patterns:
    """The patterns of an fp32 ``model`` of ours, or of its int8 form where some weights are ``kept_fp32``."""
    constants = {tensor.name for tensor in model.graph.initializer}
    kinds = Counter(node.op_type for node in model.graph.node)
    factors = [set(node.input) & constants for node in model.graph.node if node.op_type == "MatMul"]
    weights = set().union(*factors) - {KEPT_FP32}
    return {kind: sum(kinds[name] for name in names) for kind, names in _KERNELS.items()} | {
        "attention_products": factors.count(set()),
        "int8_products": 0 if kept_fp32 is None else len(weights.difference(kept_fp32)),
    }
