"""Tables to rows: each text as a string or pair, each label as a tuple of label names."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from compress.data.columns import label_column, text_columns
from compress.data.tables import Table
from compress.errors import CompressError
from compress.runtime.encoding import Text

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Rows:
    """What one split's tables say, before labels are read: the task decides how a cell is to be read.

    Attributes:
        texts: a string or a pair of strings a row.
        cells: the content of the label column.
        places: where each row stands, such as ``train.csv, line 7``.
        names: the tables' names.
    """

    texts: list[Text]
    cells: list[Any]
    places: list[str]
    names: list[str]


def read_rows(tables: Sequence[Table], text: Sequence[str], label: str | None) -> Rows:
    """Take the text and label columns out of a split's tables, one after the other.

    Raises:
        CompressError: a column is missing, or a text is missing or not text.
    """
    rows = Rows([], [], [], [table.name for table in tables])
    for table in tables:
        rows.texts.extend(read_texts(table, text))
        rows.cells.extend(table.columns[label_column(table, label)])
        rows.places.extend(map(table.place, range(len(table.numbers))))
    return rows


def read_texts(table: Table, text: Sequence[str]) -> list[Text]:
    """The text, or the pair, of each row."""
    columns = [_checked_texts(table, column) for column in text_columns(table, text)]
    return list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True))


def holds_lists(cells: Iterable[Any]) -> bool:
    """Whether every cell is a list of labels, or text in square brackets, as a list is written in CSV."""
    return all(isinstance(cell, list) or (isinstance(cell, str) and _bracketed(cell)) for cell in cells)


def read_labels(rows: Rows, multi_label: bool) -> list[tuple[str, ...]]:
    """The label names of each row: one for a single-label task, sorted and without repeats for a multi-label task.

    Names are strings whatever the format: 1, 1.0 and "1" are the label "1", and true is "true".

    Raises:
        CompressError: a label is missing, or is neither a name nor a whole number, or a list stands where none should.
    """
    read = _label_list if multi_label else _single_label
    return [read(cell, place) for cell, place in zip(rows.cells, rows.places, strict=True)]


def _checked_texts(table: Table, column: str) -> list[str]:
    for row, value in enumerate(table.columns[column]):
        if not isinstance(value, str):
            what = "the text is missing" if value is None else f"the text is {value!r}, which is not a string"
            raise CompressError(f'{table.place(row)}: {what} in column "{column}"; mend or remove the row')
        _refuse_surrogates(value, table.place(row))
    return table.columns[column]


def _single_label(cell: Any, place: str) -> tuple[str, ...]:
    if isinstance(cell, list):
        raise CompressError(
            f"{place}: a list of labels where other rows have one label; give every row a list, or none"
        )
    return (_label_name(cell, place),)


def _label_list(cell: Any, place: str) -> tuple[str, ...]:
    if isinstance(cell, str) and _bracketed(cell):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise CompressError(f'{place}: {cell} is not a JSON list of labels; write it as ["joy", "anger"]') from None
    if not isinstance(cell, list):
        raise CompressError(f"{place}: {cell!r} where other rows have a list of labels; give every row a list, or none")
    return tuple(sorted({_label_name(label, place) for label in cell}))


def _label_name(value: Any, place: str) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise CompressError(f"{place}: the label is missing; mend or remove the row")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        _refuse_surrogates(value, place)
        return value.strip()  # a blank behind a name in some rows would make another class of them
    raise CompressError(f"{place}: the label is {value!r}; a label is a name or a whole number")


def _bracketed(cell: str) -> bool:
    return cell.strip().startswith("[") and cell.strip().endswith("]")


def _refuse_surrogates(value: str, place: str) -> None:
    """JSON can spell half a character, which no tokenizer accepts."""
    if _SURROGATE.search(value):
        raise CompressError(f"{place}: half of a surrogate pair is not a character; mend or remove the row")
