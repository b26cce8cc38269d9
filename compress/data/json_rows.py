"""JSON: an object a line, or one document of rows or of columns."""

import json
from pathlib import Path
from typing import Any

from compress.data.content import decode
from compress.data.tables import Table, shown
from compress.errors import CompressError

_FORMS = 'write an array of objects such as [{"text": "...", "label": "..."}]'


def read_jsonl(path: Path, content: bytes, encoding: str | None) -> Table:
    """A table of one object a line; a key that an object lacks is a missing value."""
    return _lines(path, decode(path, content, encoding))


def read_json(path: Path, content: bytes, encoding: str | None) -> Table:
    """A table of one document: an array of objects, also under "data", or columns; or of one object a line."""
    text = decode(path, content, encoding)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and lines[0].lstrip().startswith("{") and lines[0].rstrip().endswith("}"):
            return _lines(path, text)  # JSONL under the name of JSON, as pandas and the hub's exports write it
        raise CompressError(f"{path}: not JSON ({_reason(error)}); {_FORMS}") from None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    if isinstance(document, dict) and document:
        columns = {name: _column(values) for name, values in document.items()}
        lengths = {None if values is None else len(values) for values in columns.values()}
        if len(lengths) == 1 and None not in lengths:
            whole = {name: values or [] for name, values in columns.items()}
            return Table(str(path), whole, range(1, max(filter(None, lengths), default=0) + 1), "row")
        if lengths == {None}:
            document = [document]  # one row
    if not isinstance(document, list):
        raise CompressError(f"{path}: found {_kind(document)} where rows are needed; {_FORMS}")
    for number, row in enumerate(document, 1):
        if not isinstance(row, dict):
            raise CompressError(f"{path}, row {number}: expected an object, found {_kind(row)}; {_FORMS}")
    return _table(path, document, range(1, len(document) + 1), "row")


def _lines(path: Path, text: str) -> Table:
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 is text in JSON
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CompressError(
                f"{path}, line {number}: not JSON ({_reason(error)}); write one object a line"
            ) from None
        if not isinstance(row, dict):
            raise CompressError(
                f'{path}, line {number}: expected an object such as {{"text": "...", "label": "..."}}, '
                f"found {_kind(row)}; write one object a line"
            )
        numbers.append(number)
        rows.append(row)
    return _table(path, rows, numbers, "line")


def _table(path: Path, rows: list[dict[str, Any]], numbers: list[int] | range, unit: str) -> Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(str(path), {name: [row.get(name) for row in rows] for name in names}, numbers, unit)


def _column(values: Any) -> list[Any] | None:
    """A column of a document of columns, a list or pandas' object by row number; None for anything else."""
    if isinstance(values, dict) and all(name.isdecimal() for name in values):
        return list(values.values())
    return values if isinstance(values, list) else None


def _kind(value: object) -> str:
    kinds = {list: "a list", dict: "an object", str: "a string", type(None): "null"}
    return kinds.get(type(value), shown(value))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
