"""A table: columns of values, and where in its file each row stands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compress.errors import CompressError


@dataclass(frozen=True)
class Table:
    """Columns of equal length, with what is needed to say where a value stands.

    Attributes:
        name: the file, or the data set and split, as the user knows it.
        columns: the values of each column, in row order.
        numbers: the line or row number of each row.
        unit: ``line`` for text files, ``row`` for the rest.
    """

    name: str
    columns: dict[str, list[Any]]
    numbers: Sequence[int]
    unit: str = "line"

    def place(self, row: int) -> str:
        """Where ``row`` stands: ``train.csv, line 7``."""
        return f"{self.name}, {self.unit} {self.numbers[row]}"


def refuse_duplicates(name: str, header: Sequence[str]) -> None:
    """Refuse a table in which two columns have one name.

    Raises:
        CompressError: they do; the message names the column.
    """
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise CompressError(f'{name}: column "{twice[0]}" appears twice; give each column a name of its own')


def shown(value: object, most: int = 60) -> str:
    """A value as it looks in Python, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"
