"""Which graph of a folder to run, and how: int8 where this CPU runs it well, in batches where answers allow it."""

from dataclasses import dataclass
from pathlib import Path

from compress.errors import CompressError
from compress.machine import cpu_flags, int8_flags
from compress.runtime.graph_file import operators
from compress.runtime.names import GRAPHS
from compress.runtime.predictor import BATCH_TOKENS


@dataclass(frozen=True, slots=True)
class Choice:
    """The ONNX file to run, and why, in words."""

    graph: Path
    reason: str


def choose_graph(folder: Path, flags: frozenset[str] | None = None) -> Choice:
    """The folder's graph for a CPU with ``flags`` (default: this one), as the kernel names them.

    Without int8 dot products an int8 graph is hardly faster than fp32, and its sums can saturate, so that it answers a
    little differently than elsewhere. A CPU that does not tell its flags (macOS, Windows) is taken for a modern one.

    Raises:
        CompressError: the folder has no graph.
    """
    flags = cpu_flags() if flags is None else flags
    found = {precision: folder / name for name, precision in GRAPHS.items() if (folder / name).is_file()}
    if not found:
        raise CompressError(f"{folder}: has none of {', '.join(GRAPHS)}; export the model again")
    fast = int8_flags(flags)
    if fast:
        about = f"this CPU has int8 dot products ({', '.join(fast)})"
    else:
        about = "this CPU has no int8 dot products (VNNI)" if flags else "this system does not tell what its CPU has"
    if found.keys() == {"fp16"}:
        about = "fp16 is for GPUs, a CPU computes it in fp32 and slower than an fp32 graph"
    if len(found) == 1:
        return Choice(next(iter(found.values())), f"the folder's only graph; {about}")
    preferred = ("int8", "fp32") if fast or not flags else ("fp32", "int8")
    return Choice(next(found[precision] for precision in preferred if precision in found), about)


def precision_of(graph: Path) -> str:
    """``int8``, ``fp32`` or ``fp16``, by the file's name."""
    return next(precision for name, precision in GRAPHS.items() if name.endswith(graph.name))


def batch_tokens_of(graph: Path) -> int:
    """Tokens that a batch of texts of like length may hold; 1, one text at a time, for a graph in dynamic int8.

    Dynamic int8 scales activations over the whole batch: only alone is a text's answer its own (one of 872 SST-2
    sentences moved by 0.25 with the texts that shared its batch), and the same as in every other client.
    """
    return 1 if "DynamicQuantizeLinear" in operators(graph) else BATCH_TOKENS
