"""Reads the fields of a protobuf message without its schema: each has a number, and a value or a length to skip."""

import mmap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

_VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_LAST_SHIFT = 63  # protobuf's numbers have 64 bits
MOST_FIELDS = 200_000  # a graph of ours with 24 layers has some 10,000; a hostile file could take minutes


class Field(NamedTuple):
    """A field of a message: its number starts at ``start``, its bytes start at ``at``, and it ends at ``end``."""

    number: int
    value: int | memoryview
    start: int
    at: int
    end: int


def content_of(path: Path) -> memoryview:
    """The bytes of a file, mapped into memory, so that only the pages that are used are read from disk."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of the fields with the number ``wanted`` that hold bytes."""
    for field in fields(message):
        if field.number == wanted and isinstance(field.value, memoryview):
            yield field.value


def by_number(message: memoryview) -> dict[int, int | memoryview]:
    """The values of a message's fields by number; of a repeated field, the last."""
    return {field.number: field.value for field in fields(message)}


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, and where they lie in it; ValueError or IndexError if the bytes are no such message."""
    at = 0
    for walked in count():
        if at == len(message):
            return
        if walked > MOST_FIELDS:
            raise ValueError
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield Field(tag >> 3, value, start, at, at)
            continue
        if kind == BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError
        if at + length > len(message):
            raise ValueError
        yield Field(tag >> 3, message[at : at + length], start, at, at + length)
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    if (byte := message[at]) < 128:  # one byte, as nearly always
        return byte, at + 1
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > _LAST_SHIFT:
            raise ValueError
