"""Excel workbooks (.xlsx), by the optional package openpyxl."""

import io
import warnings
from pathlib import Path
from typing import Any

from compress.data.tables import Table, refuse_duplicates
from compress.errors import CompressError
from compress.progress import say_before_work


def read_excel(path: Path, content: bytes, encoding: str | None) -> Table:  # noqa: ARG001 - as all readers
    """The first sheet of a workbook that has rows; the first row has the column names.

    Raises:
        CompressError: openpyxl is not installed, or the workbook is damaged or empty.
    """
    try:
        import openpyxl
    except ImportError:
        raise CompressError(
            f"{path}: Excel files need the package openpyxl; 'pip install openpyxl', or save the sheet as .csv"
        ) from None
    try:
        with warnings.catch_warnings(action="ignore"):  # about styles and charts, which are not read
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
    except Exception as error:  # noqa: BLE001 - openpyxl raises whatever its XML and ZIP readers do
        reason = " ".join(str(error).split())
        raise CompressError(f"{path}: not an Excel workbook ({reason}); save it again, or as .csv") from None
    filled = {title: rows for title, rows in sheets.items() if any(map(_has_values, rows))}
    if not filled:
        raise CompressError(f"{path}: the workbook is empty; it needs a row of column names, then rows")
    title, rows = next(iter(filled.items()))
    if len(filled) > 1:
        say_before_work(f"{path}: the sheet {title} is read; not read: {', '.join(list(filled)[1:6])}")
    return _table(path, rows)


def _table(path: Path, rows: list[tuple[Any, ...]]) -> Table:
    numbered = [(number, row) for number, row in enumerate(rows, 1) if _has_values(row)]
    (number, header), *body = numbered
    names = ["" if name is None else str(name) for name in header]
    refuse_duplicates(f"{path}, row {number}", [name for name in names if name.strip()])
    columns = {
        name: [row[column] if column < len(row) else None for _, row in body]
        for column, name in enumerate(names)
        if name.strip()
    }
    return Table(str(path), columns, [number for number, _ in body], "row")


def _has_values(row: tuple[Any, ...]) -> bool:
    return any(value is not None for value in row)
