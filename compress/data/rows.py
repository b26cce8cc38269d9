"""Tables to rows: each text as a string or a pair, each label as the table has it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compress.data.columns import label_columns, text_columns
from compress.data.labels import indicated_labels
from compress.data.tables import Table, shown
from compress.errors import CompressError
from compress.runtime.encoding import Text

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Rows:
    """What one split's tables say, before labels are read: the task decides how a cell is to be read.

    Attributes:
        texts: a string or a pair of strings a row.
        cells: the content of the label column, or the list of those that several columns indicate.
        places: where each row stands, such as ``train.csv, line 7``.
        names: the tables' names.
        text: the columns of the texts, in the first table.
        label: the columns of the labels, in the first table.
    """

    texts: list[Text]
    cells: list[Any]
    places: list[str]
    names: list[str]
    text: tuple[str, ...]
    label: tuple[str, ...]


def read_rows(tables: Sequence[Table], text: Sequence[str], label: Sequence[str]) -> Rows:
    """Take the text and label columns out of a split's tables, one after the other.

    Raises:
        CompressError: a column is missing, or is named for both, or a text is missing or not text.
    """
    first = tables[0]
    rows = Rows([], [], [], [table.name for table in tables], text_columns(first, text), label_columns(first, label))
    for table in tables:
        rows.texts.extend(read_texts(table, text))
        columns = label_columns(table, label)
        both = set(columns) & set(text_columns(table, text))
        if both:
            raise CompressError(f'{table.name}: column "{both.pop()}" cannot be text and label; name two columns')
        rows.cells.extend(table.columns[columns[0]] if len(columns) == 1 else indicated_labels(table, columns))
        rows.places.extend(map(table.place, range(len(table.numbers))))
    return rows


def read_texts(table: Table, text: Sequence[str]) -> list[Text]:
    """The text, or the pair, of each row."""
    columns = [_checked_texts(table, column) for column in text_columns(table, text)]
    return list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True))


def _checked_texts(table: Table, column: str) -> list[str]:
    for row, value in enumerate(table.columns[column]):
        if not isinstance(value, str):
            what = "the text is missing" if value is None else f"the text is {shown(value)}, which is not a string"
            raise CompressError(f'{table.place(row)}: {what} in column "{column}"; mend or remove the row')
        if _SURROGATE.search(value):  # JSON can spell half a character, which no tokenizer accepts
            raise CompressError(
                f"{table.place(row)}: half of a surrogate pair is not a character; mend or remove the row"
            )
    return table.columns[column]
