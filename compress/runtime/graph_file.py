"""The graphs of an ONNX folder: their names, which one to run here, and whether a file is one of ours, and whole.

Graphs are read without the onnx package, which apps do not have: an ONNX file is a protobuf message, and onnx.proto
names its fields. Only the few that matter are read, so a large file takes a millisecond.
"""

from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from compress.errors import CompressError
from compress.folder import peek
from compress.machine import cpu_flags, int8_flags
from compress.runtime.protobuf import MOST_FIELDS, Field, by_number, content_of, fields, messages

FP32_GRAPH = "onnx/model.onnx"
FP16_GRAPH = "onnx/model_fp16.onnx"
INT8_GRAPH = "onnx/model_quantized.onnx"
# In order of preference: int8 is what the folder was made for.
GRAPHS = {INT8_GRAPH: "int8", FP32_GRAPH: "fp32", FP16_GRAPH: "fp16"}

# Inputs from a tokenizer, int64 [batch, sequence]. Every graph reads the first two, and the third if its family does.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
REQUIRED_INPUTS = INPUTS[:2]
OUTPUT = "logits"  # float32 [batch, labels]

PRODUCER = "compress"
NEWEST_IR = 10

_IR_VERSION, _PRODUCER_NAME, GRAPH_FIELD = 1, 2, 7  # of ModelProto
_NODE, INITIALIZER, _INPUT = 1, 5, 11  # of GraphProto
_OP_TYPE = 4  # of NodeProto
_NAME = 1  # of ValueInfoProto
RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 9, 13, 14  # of TensorProto
KEY, VALUE = 1, 2  # of an entry of EXTERNAL_DATA


class Choice(NamedTuple):
    """The ONNX file to run, and why, in words."""

    graph: Path
    reason: str


def graphs_of(folder: Path) -> dict[str, Path]:
    """The graphs in the folder's manifest by precision, in order of preference; empty without a manifest."""
    manifest = peek(folder)
    return {precision: folder / name for name, precision in GRAPHS.items() if manifest and name in manifest.names}


def choose_graph(folder: Path, flags: frozenset[str] | None = None) -> Choice:
    """The graph in the folder's manifest that suits a CPU with ``flags``, as the kernel names them; default: this CPU.

    Without int8 dot products an int8 graph is hardly faster than fp32, and its sums can saturate, so that its answers
    differ a little from those on other CPUs. If the system does not tell the flags (macOS, Windows), the CPU is taken
    for a modern one.
    """
    flags = cpu_flags() if flags is None else flags
    graphs = graphs_of(folder)
    if not graphs:
        raise CompressError(f"{folder}: has none of {', '.join(GRAPHS)}; export the model again")
    fast = int8_flags(flags)
    if fast:
        about = f"this CPU has int8 dot products ({', '.join(fast)})"
    else:
        about = "this CPU has no int8 dot products (VNNI)" if flags else "this system does not tell what its CPU has"
    if graphs.keys() == {"fp16"}:
        about = "fp16 is for GPUs, a CPU computes it in fp32 and slower than an fp32 graph"
    if len(graphs) == 1:
        return Choice(next(iter(graphs.values())), f"the folder's only graph; {about}")
    preferred = ("int8", "fp32") if fast or not flags else ("fp32", "int8")
    return Choice(next(graphs[precision] for precision in preferred if precision in graphs), about)


def precision_of(graph: Path) -> str:
    """``int8``, ``fp32`` or ``fp16``, by the file's name."""
    return next(precision for name, precision in GRAPHS.items() if name.endswith(graph.name))


def check_graph(path: Path) -> set[str]:
    """Refuse a file that is not a whole ONNX file by this package, with its weights inside and of a known version.

    Returns the graph's operators, by their ONNX names.
    """
    if path.stat().st_size == 0:
        raise CompressError(f"{path}: is empty; make or copy the folder again")
    try:
        return _check_model(path, content_of(path))
    except (IndexError, ValueError):
        raise CompressError(
            f"{path}: not a whole ONNX file, truncated or something else; make or copy the folder again"
        ) from None


def graph_inputs(path: Path) -> tuple[str, ...]:
    """The names of the inputs of a graph that :func:`check_graph` accepts, in order."""
    return tuple(_strings(path, _INPUT, _NAME))


def operators(path: Path) -> set[str]:
    """The operators of a graph that :func:`check_graph` accepts, by their ONNX names."""
    return set(_strings(path, _NODE, _OP_TYPE))


def activations_of(operators: Collection[str]) -> str | None:
    """How a graph with these ``operators`` gets the scales of its int8 activations; None if it has no such activations.

    ``dynamic``: computed from each batch; ``static``: constants, so the texts of a batch do not shift each other.
    """
    if "DynamicQuantizeLinear" in operators:
        return "dynamic"
    return "static" if "QuantizeLinear" in operators else None


def _strings(path: Path, part: int, name: int) -> Iterator[str]:
    """The strings in field ``name`` of all messages in field ``part`` of a graph; bytes outside UTF-8 are replaced."""
    for graph in messages(content_of(path), GRAPH_FIELD):
        for message in messages(graph, part):
            yield from (bytes(value).decode(errors="replace") for value in messages(message, name))


def _check_model(path: Path, view: memoryview) -> set[str]:
    values = by_number(view)
    version, producer = values.get(_IR_VERSION), values.get(_PRODUCER_NAME, b"")
    graphs = list(messages(view, GRAPH_FIELD))
    if not isinstance(version, int) or len(graphs) != 1 or isinstance(producer, int):
        raise ValueError
    used = set()
    for part, entry in _entries(graphs[0]):
        if part == _NODE and entry.number == _OP_TYPE and isinstance(entry.value, memoryview):
            used.add(bytes(entry.value).decode())
        elif part == INITIALIZER and entry.number == EXTERNAL_DATA and isinstance(entry.value, memoryview):
            _refuse_location(path, entry.value)
    if version > NEWEST_IR:
        raise CompressError(f"{path}: has ONNX IR version {version}, at most {NEWEST_IR} is read here; export it again")
    if (name := bytes(producer).decode()) != PRODUCER:
        raise CompressError(
            f"{path}: was made by {name or 'an unnamed program'}, not by {PRODUCER}; export the PyTorch model with "
            "'compress export'"
        )
    return used


def _entries(graph: memoryview) -> Iterator[tuple[int, Field]]:
    """The fields of all nodes and weights, each with the field number of its node or weight; finds truncation."""
    walked = count()
    for part in fields(graph):
        if part.number not in (_NODE, INITIALIZER) or isinstance(part.value, int):
            continue
        for entry in fields(part.value):
            if next(walked) > MOST_FIELDS:
                raise ValueError
            yield part.number, entry


def _refuse_location(path: Path, entry: memoryview) -> None:
    """Refuse the graph in ``path`` if this ``entry`` of its external data is a location of weights."""
    pair = by_number(entry)
    key, value = pair.get(KEY), pair.get(VALUE)
    if isinstance(key, memoryview) and isinstance(value, memoryview) and bytes(key) == b"location":
        location = bytes(value).decode()
        outside = not (path.parent / location).resolve().is_relative_to(path.parent.resolve())
        where = "outside its folder; do not use it" if outside else "beside it, ours keep them inside; export it again"
        raise CompressError(f"{path}: its weights are in {location!r}, {where}")
