"""Text files row by row, each row with its text in the file, so that copies keep it byte for byte."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from compress.data.tables import Table
from compress.data.text_files import json_object
from compress.errors import CompressError

ROWS_AT_ONCE = 1024
LONGEST_ROW = 2**27  # bytes; without a limit, an open quote would read the rest of the file into memory
MARK = "\ufeff"  # the byte-order mark that Excel writes before UTF-8

Fields = TypeVar("Fields")
Row = tuple[int, str, Fields]  # the number of its first line, its text in the file, and its fields


class LinesFile(ABC, Generic[Fields]):
    """A text file in UTF-8, read from its beginning each time.

    Attributes:
        path: the file.
        names: the names of its columns.
    """

    path: Path
    names: tuple[str, ...]

    def tables(self, columns: Sequence[str]) -> Iterator[Table]:
        """These columns as tables of up to 1,024 rows."""
        rows = self.rows()
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            cells = {column: [self.cell(fields, column) for _, _, fields in chunk] for column in columns}
            yield Table(str(self.path), cells, [number for number, _, _ in chunk])

    def copy(self, out: Path, names: Sequence[str], answers: Iterable[Sequence[Any]]) -> None:
        """Write the file to ``out`` with an answer at the end of each row, in new columns of these ``names``."""
        with out.open("w", encoding="utf-8", newline="") as file:
            file.write(self.head(names))
            for row, answer in zip(self.rows(), answers, strict=True):
                file.write(self.with_answer(row, names, answer))

    @abstractmethod
    def rows(self) -> Iterator[Row[Fields]]:
        """Every row; a malformed row is refused with its line number."""

    @abstractmethod
    def cell(self, fields: Fields, column: str) -> Any:
        """The value in a column; None if it is missing."""

    def head(self, names: Sequence[str]) -> str:  # noqa: ARG002
        """The text before the rows, with the ``names`` of the new columns; empty by default."""
        return ""

    @abstractmethod
    def with_answer(self, row: Row[Fields], names: Sequence[str], answer: Sequence[Any]) -> str:
        """A row's text in the file, with the answer added."""


class JsonLines(LinesFile[dict[str, Any]]):
    """One JSON object a line; the columns are the keys of the first."""

    def __init__(self, path: Path, added: Sequence[str]) -> None:
        self.path = path
        self._added = added
        self.names = tuple(next((tuple(fields) for _, _, fields in self.rows()), ()))

    def rows(self) -> Iterator[Row[dict[str, Any]]]:
        """Every line that is not blank."""
        for number, line in numbered_lines(self.path):
            if not line.strip():
                continue
            place = f"{self.path}, line {number}"
            fields = json_object(line.removeprefix(MARK), place)
            refuse_clash(place, fields, self._added)
            yield number, line, fields

    def cell(self, fields: dict[str, Any], column: str) -> Any:
        return fields.get(column)

    def with_answer(self, row: Row[dict[str, Any]], names: Sequence[str], answer: Sequence[Any]) -> str:
        """The object with more keys."""
        _, line, _ = row
        whole = line.rstrip()
        more = json.dumps(dict(zip(names, answer, strict=True)), ensure_ascii=False)
        return f"{whole[:-1].rstrip()}, {more[1:]}{line[len(whole) :]}"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number and its line end."""
    with path.open("rb") as file:
        yield from lines_in(file)


def lines_in(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Each line of an open file with its number and its line end; a line that is too long or not UTF-8 is refused."""
    for number in count(1):
        line = file.readline(LONGEST_ROW + 1)
        if not line:
            return
        refuse_longer(len(line), f"{file.name}, line {number}")
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CompressError(
                f"{file.name}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x}); find the encoding of the "
                f"file, and convert it, for example with: iconv -f cp1252 -t utf-8"
            ) from None


def refuse_longer(length: int, place: str) -> None:
    """Refuse a row of more than ``LONGEST_ROW`` bytes."""
    if length > LONGEST_ROW:
        raise CompressError(f"{place}: over {LONGEST_ROW >> 20} MB in one row; is a quote left open?")


def refuse_clash(place: str, names: Iterable[str], added: Sequence[str]) -> None:
    """Refuse a file that already has a column with one of the ``added`` names."""
    clash = next((name for name in added if name in names), None)
    if clash is not None:
        raise CompressError(
            f'{place}: has "{clash}" already, which predict would add; choose other names, for example with '
            "--prefix predicted_"
        )
