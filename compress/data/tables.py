"""Files to tables: the columns of a CSV, TSV, JSONL or Parquet file, with the line that each row came from.

The standard library reads CSV here because pandas and ``datasets`` take the texts "NA", "null" and "" for missing
values and cannot name the line of a bad row.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.errors import CompressError
from compress.progress import say

# The largest field that the csv module can be told to accept; its default, 128 KiB, is less than a long document.
_FIELD_CHARACTERS = 2**31 - 1


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


def read_table(path: Path) -> Table:
    """Read a file by its suffix.

    Raises:
        CompressError: the file cannot be read, is malformed, or has no rows.
    """
    if path.is_dir():
        raise CompressError(f"{path}: a folder where a file is needed; name a file in it")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise CompressError(f"{path}: files of this kind are not read; give one that ends in {', '.join(SUFFIXES)}")
    try:
        table = reader(path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise CompressError(f"{path}: {reason}; give a file that can be read") from None
    if not table.numbers:
        raise CompressError(f"{path}: there are no rows; each row needs a text and a label")
    return table


def _read_csv(path: Path) -> Table:
    csv.field_size_limit(_FIELD_CHARACTERS)
    reader = csv.reader(io.StringIO(_decode(path), newline=""), strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        while True:
            line = reader.line_num + 1  # a quoted field can span lines: a record is named by its first
            try:
                yield line, next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise CompressError(
                    f"{path}, line {line}: {error}; a field with a comma, quote or line break is quoted, "
                    f"and a quote inside it is doubled"
                ) from None

    return _tabulate(path, records(), "quote the fields that hold commas")


def _read_tsv(path: Path) -> Table:
    """Tab-separated lines without quoting: quotes, balanced or not, are text, as in MRPC."""
    lines = _decode(path).split("\n")
    records = (
        (number, line.removesuffix("\r").split("\t")) for number, line in enumerate(lines, 1) if line.strip("\r")
    )
    return _tabulate(path, records, "a tab separates columns and cannot be part of a text")


def _tabulate(path: Path, records: Iterator[tuple[int, list[str]]], remedy: str) -> Table:
    """The header and the rows below it; blank lines are skipped."""
    filled = ((number, values) for number, values in records if values)
    _, header = next(filled, (0, []))
    if not header:
        raise CompressError(f"{path}: the file is empty; it needs a line of column names, then rows")
    _refuse_duplicates(path, header)
    numbers: list[int] = []
    rows: list[list[str]] = []
    for number, values in filled:
        if len(values) != len(header):
            raise CompressError(
                f"{path}, line {number}: expected {len(header)} columns ({', '.join(header)}), "
                f"found {len(values)}; {remedy}"
            )
        numbers.append(number)
        rows.append(values)
    columns = {name: [row[column] for row in rows] for column, name in enumerate(header)}
    return Table(str(path), columns, numbers)


def _read_jsonl(path: Path) -> Table:
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_decode(path).split("\n"), 1):  # not splitlines: U+2028 is text in JSON
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CompressError(f"{path}, line {number}: not JSON ({error}); write one object a line") from None
        if not isinstance(row, dict):
            raise CompressError(
                f'{path}, line {number}: expected an object such as {{"text": "...", "label": "..."}}, '
                f"found {_kind(row)}; write one object a line"
            )
        numbers.append(number)
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(str(path), {name: [row.get(name) for row in rows] for name in names}, numbers)


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        # Opened here, so that the path is a plain file and its "key=value" folders do not become columns.
        with path.open("rb") as file:
            table = pyarrow.parquet.read_table(file)
    except pyarrow.ArrowException as error:
        raise CompressError(f"{path}: not a Parquet file ({' '.join(str(error).split())}); write it again") from None
    _refuse_duplicates(path, table.column_names)
    columns = {}
    for name in table.column_names:
        try:
            columns[name] = table.column(name).to_pylist()
        except (pyarrow.ArrowException, ValueError, OverflowError) as error:  # a date of the year 9999, say
            say(f"{path}: column {name} cannot be read and is left out ({' '.join(str(error).split())})")
    return Table(str(path), columns, range(1, table.num_rows + 1), "row")


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CompressError(
            f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x} at offset {error.start}); "
            f"convert the file, for example with: iconv -f LATIN1 -t UTF-8"
        ) from None


def _refuse_duplicates(path: Path, header: Sequence[str]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise CompressError(f'{path}, line 1: column "{twice[0]}" appears twice; give each column a name of its own')


def _kind(value: object) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), f"{value!r}")


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".txt": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)
