"""Is a file a graph of ours, and which operators has it? Read without the onnx package, which apps do not have.

An ONNX file is a protobuf message: fields, each with a number and a value or a length to skip (onnx.proto names them).
Only the few fields that matter are read, so a large file costs a millisecond.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from compress.errors import CompressError

PRODUCER = "compress"
NEWEST_IR = 10

_IR_VERSION, _PRODUCER_NAME, _GRAPH = 1, 2, 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT = 1, 5, 11  # of GraphProto
_OP_TYPE = 4  # of NodeProto
_NAME = 1  # of ValueInfoProto
_EXTERNAL_DATA = 13  # of TensorProto, its entries have a key and a value
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types

_Field = tuple[int, int | memoryview]


def check_graph(path: Path) -> None:
    """Refuse what is not a whole ONNX file written by this package, all in one piece and of a known version.

    Raises:
        CompressError: says what is wrong with it.
    """
    if path.stat().st_size == 0:
        raise CompressError(f"{path}: is empty; make or copy the folder again")
    try:
        _check_model(path, _content(path))
    except (IndexError, ValueError):
        raise CompressError(
            f"{path}: not a whole ONNX file, truncated or something else; make or copy the folder again"
        ) from None


def graph_inputs(path: Path) -> tuple[str, ...]:
    """Names of the inputs of a graph that :func:`check_graph` accepts, in order."""
    return tuple(
        bytes(name).decode()
        for graph in _messages(_content(path), _GRAPH)
        for value in _messages(graph, _INPUT)
        for name in _messages(value, _NAME)
    )


def operators(path: Path) -> set[str]:
    """The operators of a graph that :func:`check_graph` accepts, by their ONNX names."""
    return {
        bytes(name).decode()
        for graph in _messages(_content(path), _GRAPH)
        for node in _messages(graph, _NODE)
        for name in _messages(node, _OP_TYPE)
    }


def _content(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The fields with the number ``wanted`` that hold bytes."""
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _check_model(path: Path, view: memoryview) -> None:
    fields = list(_fields(view))
    version, producer = dict(fields).get(_IR_VERSION), dict(fields).get(_PRODUCER_NAME, b"")
    graphs = list(_messages(view, _GRAPH))
    if not isinstance(version, int) or not graphs or isinstance(producer, int):
        raise ValueError
    for location in (location for graph in graphs for location in _external(graph)):
        outside = not (path.parent / location).resolve().is_relative_to(path.parent.resolve())
        where = "outside its folder; do not use it" if outside else "beside it, ours keep them inside; export it again"
        raise CompressError(f"{path}: its weights are in {location!r}, {where}")
    if version > NEWEST_IR:
        raise CompressError(f"{path}: has ONNX IR version {version}, at most {NEWEST_IR} is read here; export it again")
    if (name := bytes(producer).decode()) != PRODUCER:
        raise CompressError(
            f"{path}: was made by {name or 'an unnamed program'}, not by {PRODUCER}; export the PyTorch model with "
            "'compress export'"
        )


def _external(graph: memoryview) -> Iterator[str]:
    """Where weights lie that are not in the graph itself; the messages inside are walked too, to find truncation."""
    for number, value in _fields(graph):
        if number not in (_NODE, _INITIALIZER) or isinstance(value, int):
            continue
        for inner, entry in _fields(value):
            if number == _INITIALIZER and inner == _EXTERNAL_DATA and isinstance(entry, memoryview):
                pair = dict(_fields(entry))
                key, location = pair.get(_KEY), pair.get(_VALUE)
                if isinstance(key, memoryview) and isinstance(location, memoryview) and bytes(key) == b"location":
                    yield bytes(location).decode()


def _fields(message: memoryview) -> Iterator[_Field]:
    """Each field's number and value; ValueError or IndexError where the bytes are no such message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError
        if at + length > len(message):
            raise ValueError
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
