"""Parquet, Arrow and Excel files, and the folders that ``datasets`` writes with ``save_to_disk``."""

import io
import warnings
from pathlib import Path
from typing import Any

from compress.data.tables import Table, refuse_duplicates
from compress.durable import parse_json
from compress.errors import CompressError
from compress.progress import say_before_work


def read_parquet(path: Path, content: bytes) -> Table:
    """Read a Parquet file; class numbers become the names in its metadata."""
    import pyarrow
    import pyarrow.parquet

    try:
        # From memory: a path with "key=value" folders would add columns.
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise CompressError(f"{path}: not a Parquet file ({error}); write it again") from None
    return arrow_table(str(path), table)


def read_arrow(path: Path, content: bytes) -> Table:
    """Read an Arrow file, in the stream or the file format."""
    return arrow_table(str(path), _open_arrow(path, content))


def is_saved_dataset(path: Path) -> bool:
    """Whether ``path`` is the folder of one split that ``save_to_disk`` of ``datasets`` wrote."""
    return (path / "state.json").is_file()


def read_saved_dataset(path: Path) -> Table:
    """Read a folder that ``save_to_disk`` of ``datasets`` wrote."""
    import pyarrow

    try:
        state = parse_json((path / "state.json").read_bytes())
        files = [path / Path(part["filename"]).name for part in state["_data_files"]]
        return arrow_table(str(path), pyarrow.concat_tables([_open_arrow(file, file.read_bytes()) for file in files]))
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise CompressError(f"{path}: not a whole folder of save_to_disk ({error}); save it again") from None


def _open_arrow(path: Path, content: bytes) -> Any:
    import pyarrow

    open_table = pyarrow.ipc.open_file if content.startswith(b"ARROW1") else pyarrow.ipc.open_stream
    try:
        table = open_table(pyarrow.BufferReader(content)).read_all()
        table.validate(full=True)  # Arrow trusts the lengths in a file, which can lead out of its memory
        _ = table.column_names  # names are decoded as UTF-8 only now
        return table
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CompressError(f"{path}: not an Arrow file ({error}); write it again") from None


def arrow_table(name: str, table: Any) -> Table:
    """The values of an Arrow table; class numbers become the names that ``datasets`` keeps in its metadata."""
    import pyarrow

    refuse_duplicates(name, table.column_names)
    try:
        features = dict(parse_json(table.schema.metadata[b"huggingface"])["info"]["features"])
    except (KeyError, ValueError, TypeError):
        features = {}  # another program wrote the file
    columns = {}
    for column in table.column_names:
        try:
            values = table.column(column).to_pylist()
        except (pyarrow.ArrowException, ValueError, OverflowError) as error:  # a date of the year 9999, say
            say_before_work(f"{name}: column {column} cannot be read and is left out ({error})")
            continue
        names = _class_names(features.get(column))
        columns[column] = _named_classes(values, names, f"{name}: column {column}") if names else values
    return Table(name, columns, range(1, table.num_rows + 1), "row")


def _class_names(feature: Any) -> list[str]:
    """The names of the classes in a column of class numbers or of lists of them; none for other columns."""
    if isinstance(feature, list) and feature:  # a list, as older versions noted it
        feature = feature[0]
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _named_classes(values: list[Any], names: list[str], place: str) -> list[Any]:
    """Class numbers as names, in lists too; -1 stands for a withheld label, and becomes None.

    Lists are indicators, not class numbers, where each has a 0 or 1 for every class, and one of them has a number
    twice, as no list of classes has. So, with two classes, [0, 1] and [1, 0] alone mean both classes for each row.
    """
    lists = [value for value in values if isinstance(value, list)]
    wide = all(len(value) == len(names) and set(value) <= {0, 1} for value in lists)
    if wide and any(len(set(value)) < len(value) for value in lists):
        return [value and [name for name, present in zip(names, value, strict=True) if present] for value in values]

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(number) for number in value]
        if value is None or value == -1:
            return None
        if not isinstance(value, int) or not 0 <= value < len(names):
            raise CompressError(f"{place} has the class {value!r}, but names for 0 to {len(names) - 1}; write it again")
        return names[value]

    return [name(value) for value in values]


def read_excel(path: Path, content: bytes) -> Table:
    """Read the first sheet of a workbook that has rows; its first row has the column names."""
    try:
        import openpyxl
    except ImportError:
        raise CompressError(
            f"{path}: Excel files need the package openpyxl; 'pip install openpyxl', or save the sheet as .csv"
        ) from None
    sheets = {}
    try:
        with warnings.catch_warnings(action="ignore"):  # warnings about styles and charts, which are not read
            for sheet in openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True).worksheets:
                sheet.reset_dimensions()  # the dimensions in the file may be too small
                numbered = enumerate(sheet.iter_rows(values_only=True), 1)
                sheets[sheet.title] = [row for row in numbered if any(value is not None for value in row[1])]
    except Exception as error:  # noqa: BLE001 - openpyxl raises whatever its XML and ZIP readers do
        raise CompressError(f"{path}: not an Excel workbook ({error}); save it again, or as .csv") from None
    filled = [title for title, rows in sheets.items() if rows]
    if not filled:
        raise CompressError(f"{path}: the workbook is empty; it needs a row of column names, then rows")
    if len(filled) > 1:
        say_before_work(f"{path}: the sheet {filled[0]} is read; not read: {', '.join(filled[1:6])}")
    (number, header), *body = sheets[filled[0]]
    names = {column: str(name) for column, name in enumerate(header) if name is not None and str(name).strip()}
    refuse_duplicates(f"{path}, row {number}", list(names.values()))
    columns = {name: [row[column] if column < len(row) else None for _, row in body] for column, name in names.items()}
    return Table(str(path), columns, [number for number, _ in body], "row")
