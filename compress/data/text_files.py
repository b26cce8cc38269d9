"""Reads CSV, TSV and JSON; errors name the line of a bad row.

The standard library reads CSV here because pandas and ``datasets`` take the texts "NA", "null" and "" for missing
values and cannot name the line of a bad row. Its Sniffer guesses from letters inside texts, so separator and quoting
are found here.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from compress.data.tables import Table, refuse_duplicates
from compress.errors import CompressError
from compress.formatting import shown
from compress.progress import say_before_work

# The largest limit on a field that the csv module takes; its default, 128 KiB, is less than a long document.
_FIELD_CHARACTERS = 2**31 - 1
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n')  # Excel's own first line
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_FORMS = 'write an array of objects such as [{"text": "...", "label": "..."}]'

Record = tuple[int, list[str]]  # the line that it begins on, and its fields


def read_delimited(path: Path, text: str, usual: str) -> Table:
    """Read a table whose columns are separated by ``usual``, unless the line of column names says otherwise."""
    csv.field_size_limit(_FIELD_CHARACTERS)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # the line ends of an old Macintosh
    said = SEPARATOR_LINE.match(text)
    separator = said[1] if said else separator_of(text, usual)
    text = text[said.end() :] if said else text
    first = 2 if said else 1
    lines = partial(io.StringIO, text, newline="\n")  # a carriage return alone ends no line here
    if separator == "\t" and not has_quoting(lines):
        records, remedy = _plain_records(lines(), first), width_remedy(separator, quoted=False)
    else:
        spaced = has_blanks_before_quotes(lines, separator)
        records = quoted_records(path, io.StringIO(text, newline=""), separator, first, spaced)
        remedy = width_remedy(separator, quoted=True)
    return _tabulate(path, (record for record in records if record[1]), remedy)


def width_remedy(separator: str, *, quoted: bool) -> str:
    """What to do about a record with more fields than there are columns."""
    if not quoted:
        return "a tab separates columns and cannot be part of a text"
    return f"quote the fields that hold {_NAMES.get(separator, repr(separator))}"


def separator_of(text: str, usual: str) -> str:
    """The separator that gives the most column names in the first line; of equals ``usual``."""
    header = next((line for line in re.split("[\r\n]+", text[:100_000]) if line.strip()), "")
    if usual == "\t" and "\t" in header:
        return usual
    columns = {separator: len(next(csv.reader([header], delimiter=separator))) for separator in (usual, *_NAMES)}
    return max(columns, key=lambda separator: columns[separator])  # the first of equals: the usual one


def has_quoting(lines: Callable[[], Iterable[str]]) -> bool:
    """Whether quotes in tab-separated lines are a CSV writer's, as pandas writes them, or text, as in MRPC.

    A writer quotes every field that has a quote in it, doubles those inside, and quotes no other field unless it
    quotes all. Where the lines are of one width without quoting, one line that breaks these rules decides for text.
    """
    _, header = next(_plain_records(lines()), (0, []))
    all_quoted = all(_QUOTED.fullmatch(name) for name in header)
    widths: set[int] = set()
    quoted, written = False, True
    for _, fields in _plain_records(lines()):
        widths.add(len(fields))
        for field in fields:
            if '"' in field:
                quoted = True
                written &= bool(_QUOTED.fullmatch(field)) and (all_quoted or '""' in field[1:-1])
    if not quoted or len(widths) == 1:
        return quoted and written
    try:  # a quoted field may hold a tab or a line break
        widths = {len(record) for record in csv.reader(lines(), delimiter="\t", strict=True)}
    except csv.Error:
        return False
    return len(widths - {0}) == 1


def has_blanks_before_quotes(lines: Callable[[], Iterable[str]], separator: str) -> bool:
    """Whether quotes behind a separator and a blank are a writer's, as in ``"so it goes", "pos"``.

    They are if there are any, and all records have one width when read so.
    """
    if not any(f'{separator} "' in line or line.startswith(' "') for line in lines()):  # no need to parse it
        return False
    try:
        fields = (field for record in csv.reader(lines(), delimiter=separator) for field in record)
        if not any(field.startswith(' "') for field in fields):
            return False
        spaced = csv.reader(lines(), delimiter=separator, skipinitialspace=True, strict=True)
        return len({len(record) for record in spaced} - {0}) == 1
    except csv.Error:
        return False


def _plain_records(lines: Iterable[str], first: int = 1) -> Iterator[Record]:
    for number, line in enumerate(lines, first):
        record = line.removesuffix("\n")
        if record.strip("\r"):
            yield number, record.removesuffix("\r").split("\t")


def quoted_records(
    path: Path, lines: Iterable[str], separator: str, first: int, spaced: bool = False
) -> Iterator[Record]:
    """All records of ``lines``, which begin at line ``first`` of the file; a blank line has no fields.

    ``spaced`` is the answer of :func:`has_blanks_before_quotes`.
    """
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=spaced, strict=True)
    while True:
        line = reader.line_num + first  # a quoted field can span lines: a record is named by its first
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CompressError(
                f"{path}, line {line}: {error}; a field with a separator, quote or line break is quoted, "
                f"and a quote inside it is doubled"
            ) from None
        yield line, fields


def refuse_other_width(place: str, names: Sequence[str], fields: Sequence[str], remedy: str) -> None:
    """Refuse a record with fewer fields than ``names``, or with more that hold something."""
    if len(fields) < len(names) or any(fields[len(names) :]):
        raise CompressError(
            f"{place}: expected {len(names)} columns ({', '.join(names)}), found {len(fields)}; {remedy}"
        )


def _tabulate(path: Path, records: Iterable[Record], remedy: str) -> Table:
    """A table of ``records``, the column names first; unnamed columns are left out."""
    rows = iter(records)
    first, header = next(rows, (0, []))
    if not header:
        raise CompressError(f"{path}: the file is empty; it needs a line of column names, then rows")
    refuse_duplicates(f"{path}, line {first}", [name for name in header if name.strip()])
    numbers: list[int] = []
    values: list[list[str]] = []
    for number, fields in rows:
        refuse_other_width(f"{path}, line {number}", header, fields, remedy)
        numbers.append(number)
        values.append(fields)
    for column, name in enumerate(header[1:], 1):  # the first is the row numbers that pandas writes
        filled = [] if name.strip() else [number for number, row in zip(numbers, values, strict=True) if row[column]]
        if filled:
            say_before_work(
                f"{path}, line {filled[0]}: column {column + 1} has no name and is left out, here it has something"
            )
    columns = {name: [row[column] for row in values] for column, name in enumerate(header) if name.strip()}
    return Table(str(path), columns, numbers)


def read_jsonl(path: Path, text: str) -> Table:
    """Read a table of one object a line; a key that an object lacks is a missing value."""
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 is text in JSON
        if not line.strip():
            continue
        rows[number] = json_object(line, f"{path}, line {number}")
    return Table(str(path), _columns(list(rows.values())), list(rows))


def json_object(line: str, place: str) -> dict[str, Any]:
    """The JSON object in a line; errors about anything else name its ``place``."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CompressError(f"{place}: not JSON ({error}); write one object a line") from None
    if not isinstance(row, dict):
        raise CompressError(
            f'{place}: expected an object such as {{"text": "..."}}, found {_kind(row)}; write one object a line'
        )
    return row


def read_json(path: Path, text: str) -> Table:
    """Read a table of one document: an array of objects, also under "data", or columns; or of one object a line."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and lines[0].lstrip().startswith("{") and lines[0].rstrip().endswith("}"):
            return read_jsonl(path, text)  # JSONL under the name of JSON, as pandas and the hub's exports write it
        raise CompressError(f"{path}: not JSON ({error}); {_FORMS}") from None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    if isinstance(document, dict) and document:
        cells = {name: _column(values) for name, values in document.items()}
        lengths = {None if values is None else len(values) for values in cells.values()}
        if len(lengths) == 1 and None not in lengths:
            columns = {name: values or [] for name, values in cells.items()}
            return Table(str(path), columns, range(1, max(filter(None, lengths), default=0) + 1), "row")
        if lengths == {None}:
            document = [document]  # one row
    if not isinstance(document, list):
        raise CompressError(f"{path}: found {_kind(document)} where rows are needed; {_FORMS}")
    for number, row in enumerate(document, 1):
        if not isinstance(row, dict):
            raise CompressError(f"{path}, row {number}: expected an object, found {_kind(row)}; {_FORMS}")
    return Table(str(path), _columns(document), range(1, len(document) + 1), "row")


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _column(values: Any) -> list[Any] | None:
    """The cells of a column, from a list or from pandas' object by row number; None for anything else."""
    if isinstance(values, dict) and all(name.isdecimal() for name in values):
        return list(values.values())
    return values if isinstance(values, list) else None


def _kind(value: object) -> str:
    kinds = {list: "a list", dict: "an object", str: "a string", type(None): "null"}
    return kinds.get(type(value), shown(value))
