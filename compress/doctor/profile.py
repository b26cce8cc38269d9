"""Which kernels onnxruntime runs for a graph, and how long each takes: read from its own profile."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort

from compress.runtime.encoding import Feeds

INT8_KERNELS = frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "QLinearMatMul", "QGemm"})
_FP32_KERNELS = frozenset({"MatMul", "FusedMatMul", "Gemm", "FusedGemm"})
_CALLS, _UNTIMED_CALLS = 25, 5
_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class Product:
    """A product with a weight ``[inner, outer]``, for ``rows`` tokens."""

    rows: int
    inner: int
    outer: int
    int8: bool


@dataclass(frozen=True)
class NodeTime:
    """A node as onnxruntime runs it.

    Attributes:
        name: in the graph; fused nodes have the name of one of their parts.
        kernel: its operator after onnxruntime's own optimisation.
        p50_us: median time of a run, in microseconds.
        product: its shape where it multiplies with a weight.
    """

    name: str
    kernel: str
    p50_us: float
    product: Product | None


def profile(graph: Path, feeds: Feeds) -> list[NodeTime]:
    """Every node of ``graph`` on one thread, in the order in which they run."""
    with TemporaryDirectory() as temporary:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(temporary) / "profile")
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for _ in range(_UNTIMED_CALLS + _CALLS):
            session.run(["logits"], feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            runs[event["name"].removesuffix(_SUFFIX)].append(event)
    return [_node_time(name, found[_UNTIMED_CALLS:]) for name, found in runs.items()]


def _node_time(name: str, events: list[dict[str, Any]]) -> NodeTime:
    about = events[0]["args"]
    return NodeTime(
        name, about["op_name"], float(np.median([event["dur"] for event in events])), _product(about["op_name"], about)
    )


def _product(kernel: str, about: dict[str, Any]) -> Product | None:
    """None for other kernels, and for products of two activations, as in attention."""
    if kernel not in INT8_KERNELS | _FP32_KERNELS:
        return None
    reads = [shape for typed in about["input_type_shape"] for shape in typed.values()]
    (result,) = (shape for typed in about["output_type_shape"][:1] for shape in typed.values())
    if len(result) > 3:
        return None
    return Product(int(np.prod(result[:-1])), reads[0][-1], result[-1], kernel in INT8_KERNELS)
