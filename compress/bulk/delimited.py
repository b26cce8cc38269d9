"""CSV and TSV files and copies with more columns, in which records keep their quotes and line ends."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from compress.bulk.lines import LONGEST_ROW, MARK, LinesFile, Row, numbered_lines, refuse_clash, refuse_longer
from compress.data.tables import refuse_duplicates
from compress.data.text_files import (
    SEPARATOR_LINE,
    has_blanks_before_quotes,
    has_quoting,
    quoted_records,
    refuse_other_width,
    separator_of,
    width_remedy,
)
from compress.errors import CompressError

_BREAKS = str.maketrans("\t\r\n", "   ")  # characters that no unquoted field can hold


class Delimited(LinesFile[list[str]]):
    """A line of column names, then records with separators; separator and quoting are detected as in training."""

    def __init__(self, path: Path, added: Sequence[str], usual: str) -> None:
        csv.field_size_limit(LONGEST_ROW)
        self.path = path
        first = next((line for _, line in numbered_lines(path)), "")
        if "\r" in first and "\n" not in first:  # the line ends of an old Macintosh
            raise CompressError(
                f"{path}: its lines end in carriage returns alone; convert it, for example with: "
                "tr '\\r' '\\n' < OLD > NEW"
            )
        declared = SEPARATOR_LINE.match(first.removeprefix(MARK))  # Excel's line that names the separator
        self._before = first if declared else MARK if first.startswith(MARK) else ""
        self._skipped = 1 if declared else 0
        header = next((line for line in self._lines() if line.strip()), "")
        self._separator = declared[1] if declared else separator_of(header, usual)
        self._quoted = self._separator != "\t" or has_quoting(self._lines)
        self._spaced = self._quoted and has_blanks_before_quotes(self._lines, self._separator)
        number, self._head, names = next(self._records(), (0, "", []))
        if not names:
            raise CompressError(f"{path}: the file is empty; it needs a line of column names, then rows")
        refuse_duplicates(f"{path}, line {number}", [name for name in names if name.strip()])
        refuse_clash(f"{path}, line {number}", names, added)
        self.names = tuple(names)
        self._quotes_all = _without_end(self._head) == self._joined(names, csv.QUOTE_ALL)

    def rows(self) -> Iterator[Row[list[str]]]:
        """Every record below the names; blank lines are left out."""
        for number, raw, fields in islice(self._records(), 1, None):
            remedy = width_remedy(self._separator, quoted=self._quoted)
            refuse_other_width(f"{self.path}, line {number}", self.names, fields, remedy)
            yield number, raw, fields

    def cell(self, fields: list[str], column: str) -> str:
        return fields[self.names.index(column)]

    def head(self, names: Sequence[str]) -> str:
        return self._before + self._with(self._head, names)

    def with_answer(self, row: Row[list[str]], names: Sequence[str], answer: Sequence[Any]) -> str:
        """The record with more fields; a list is written as JSON."""
        del names
        _, raw, fields = row
        cells = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in answer]
        return self._with(raw, cells, beyond=len(fields) - len(self.names))

    def _with(self, raw: str, cells: Sequence[str], beyond: int = 0) -> str:
        """A record with more cells, which replace the empty ones ``beyond`` the last column."""
        kept = record = _without_end(raw)
        for _ in range(beyond):
            kept = kept.removesuffix('""').removesuffix(self._separator)
        more = self._joined(cells, csv.QUOTE_ALL if self._quotes_all else csv.QUOTE_MINIMAL)
        return f"{kept}{self._separator}{more}{raw[len(record) :]}"

    def _joined(self, cells: Sequence[str], quoting: Any) -> str:
        if not self._quoted:  # then no field can hold a separator or a line end
            return self._separator.join(cell.translate(_BREAKS) for cell in cells)
        line = io.StringIO()
        csv.writer(line, delimiter=self._separator, quoting=quoting).writerow(cells)
        return line.getvalue().removesuffix("\r\n")  # the writer quotes only those line ends that it writes itself

    def _lines(self) -> Iterator[str]:
        """All lines, starting with that of the names."""
        for number, line in islice(numbered_lines(self.path), self._skipped, None):
            yield line.removeprefix(MARK) if number == 1 else line

    def _records(self) -> Iterator[Row[list[str]]]:
        return self._quoted_records() if self._quoted else self._plain_records()

    def _plain_records(self) -> Iterator[Row[list[str]]]:
        for number, line in enumerate(self._lines(), 1 + self._skipped):
            if line.strip("\r\n"):
                yield number, line, _without_end(line).split("\t")

    def _quoted_records(self) -> Iterator[Row[list[str]]]:
        taken: list[str] = []
        lines, first = self._noted(taken), 1 + self._skipped
        for number, fields in quoted_records(self.path, lines, self._separator, first, self._spaced):
            if fields:
                yield number, "".join(taken), fields
            taken.clear()

    def _noted(self, taken: list[str]) -> Iterator[str]:
        """All lines; each is also put into ``taken``, which the reader clears after each whole record."""
        held = 0
        for line in self._lines():
            held = held + len(line) if taken else len(line)
            refuse_longer(held, str(self.path))
            taken.append(line)
            yield line


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
