"""A graph whose weights stay in their file, so that they are not held twice while ONNX Runtime loads them.

ONNX Runtime would hold a graph that it reads from a path whole as a message, and once more as tensors. Here it gets the
message without the weights: each large tensor says where in the file its bytes lie, as ONNX's external data do. Weights
are mapped into memory one at a time: one that ONNX Runtime copies into another layout is freed right after, and of an
embedding table only the rows that texts need are ever read.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from compress.runtime.graph_file import DATA_LOCATION, EXTERNAL_DATA, GRAPH_FIELD, INITIALIZER, KEY, RAW_DATA, VALUE
from compress.runtime.protobuf import BYTES, Field, content_of, fields

FOLDER_OPTION = "session.model_external_initializers_file_folder_path"
# Smaller tensors stay inside: shapes and axes are read while the graph is checked, and a page is 4096 bytes.
_LARGE_BYTES = 4096
_OUTSIDE = 1  # of TensorProto.DataLocation
# Windows does not delete a mapped file, so a folder in use could not be replaced.
CAN_MAP = sys.platform != "win32"


def without_weights(path: Path) -> bytes:
    """The graph in a whole file of ours, with large tensors as references into the file."""
    content, name = content_of(path), path.resolve().name
    return b"".join(
        _message(GRAPH_FIELD, b"".join(_graph(content, field, name)))
        if field.number == GRAPH_FIELD
        else content[field.start : field.end]
        for field in fields(content)
    )


def _graph(content: memoryview, graph: Field, name: str) -> Iterator[bytes | memoryview]:
    for field in fields(content[graph.at : graph.end]):
        whole = content[graph.at + field.start : graph.at + field.end]
        if field.number == INITIALIZER:
            yield _message(INITIALIZER, b"".join(_tensor(content, graph.at + field.at, graph.at + field.end, name)))
        else:
            yield whole


def _tensor(content: memoryview, start: int, end: int, name: str) -> Iterator[bytes | memoryview]:
    for field in fields(content[start:end]):
        length = field.end - field.at
        if field.number != RAW_DATA or length < _LARGE_BYTES:
            yield content[start + field.start : start + field.end]
            continue
        yield from _entries({"location": name, "offset": str(start + field.at), "length": str(length)})
        yield _number(DATA_LOCATION << 3) + _number(_OUTSIDE)


def _entries(entries: Mapping[str, str]) -> Iterator[bytes]:
    for key, value in entries.items():
        yield _message(EXTERNAL_DATA, _message(KEY, key.encode()) + _message(VALUE, value.encode()))


def _message(number: int, content: bytes) -> bytes:
    return _number(number << 3 | BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """A varint: 7 bits a byte, the lowest first; all bytes but the last have the highest bit set."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _number(rest) if rest else bytes([low])
