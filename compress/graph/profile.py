"""Which kernels ONNX Runtime runs for a graph, and how long each takes, read from the profile that it writes."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort

from compress.errors import CompressError
from compress.runtime.encoding import Feeds
from compress.runtime.session import open_session

INT8_KERNELS = frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "QLinearMatMul", "QGemm"})
_FP32_KERNELS = frozenset({"MatMul", "FusedMatMul", "Gemm", "FusedGemm"})
_SUFFIX = "_kernel_time"


class ProfileError(CompressError):
    """The profile is not in the form that we know, for which ONNX Runtime makes no promise."""


@dataclass(frozen=True)
class Product:
    """A matrix product of ``rows`` tokens with a weight ``[inner, outer]``."""

    rows: int
    inner: int
    outer: int
    int8: bool


@dataclass(frozen=True)
class NodeTime:
    """A node as ONNX Runtime runs it, with its median time in microseconds."""

    name: str  # in the graph; fused nodes have the name of one of their parts
    kernel: str  # its operator after ONNX Runtime's own optimisation
    p50_us: float
    product: Product | None  # its shape where it multiplies with a weight


def profile(graph: Path, feeds: Feeds, calls: int, untimed_calls: int = 0) -> list[NodeTime]:
    """The times of every node of the file ``graph`` on one thread of the CPU, in the order in which they run.

    Times are medians over ``calls`` runs with the inputs ``feeds``, after ``untimed_calls`` others.

    Raises:
        ProfileError: this ONNX Runtime writes its profile in another form.
    """
    with TemporaryDirectory() as temporary:
        session = open_session(graph, 1, profile_prefix=str(Path(temporary) / "profile"))
        for _ in range(untimed_calls + calls):
            session.run(None, feeds)
        written = Path(session.end_profiling()).read_text(encoding="utf-8")
    try:
        nodes = _read(json.loads(written), untimed_calls)
    except (KeyError, TypeError, ValueError, IndexError):
        nodes = []
    if not nodes:
        raise ProfileError(f"the profile of onnxruntime {ort.__version__} is not one that compress can read")
    return nodes


def _read(events: list[Any], untimed_calls: int) -> list[NodeTime]:
    runs = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX):
            runs[event["args"]["node_index"]].append(event)
    return [
        NodeTime(
            name=events[0]["name"].removesuffix(_SUFFIX),
            kernel=events[0]["args"]["op_name"],
            p50_us=float(np.median([event["dur"] for event in events[untimed_calls:]])),
            product=_product(events[0]["args"]),
        )
        for events in runs.values()
    ]


def _product(details: dict[str, Any]) -> Product | None:
    """The product with a weight that a kernel computes; None if it computes none, or one of two activations."""
    kernel = details["op_name"]
    if kernel not in INT8_KERNELS | _FP32_KERNELS:
        return None
    reads = [shape for typed in details["input_type_shape"] for shape in typed.values()]
    (result,) = (shape for typed in details["output_type_shape"][:1] for shape in typed.values())
    if len(result) > 3:
        return None
    return Product(int(np.prod(result[:-1])), reads[0][-1], result[-1], kernel in INT8_KERNELS)
