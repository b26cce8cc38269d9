"""A file, or a folder of ``datasets``, to a table: the reader is chosen by the file's name."""

from collections.abc import Callable
from pathlib import Path

from compress.data.arrow import is_saved_dataset, read_arrow, read_parquet, read_saved_dataset
from compress.data.content import COMPRESSIONS, read_bytes, suffix_of
from compress.data.delimited import read_csv, read_tsv
from compress.data.excel import read_excel
from compress.data.json_rows import read_json, read_jsonl
from compress.data.tables import Table
from compress.errors import CompressError

_READERS: dict[str, Callable[[Path, bytes, str | None], Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".tab": read_tsv,
    ".txt": read_tsv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".xlsx": read_excel,
}
FORMATS = f"{', '.join(_READERS)}, also with {' or '.join(COMPRESSIONS)} behind"


def is_readable(path: Path) -> bool:
    """Whether the name is one of a format that is read, or the folder one that ``datasets`` saved."""
    return is_saved_dataset(path) if path.is_dir() else suffix_of(path) in _READERS


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a file by its suffix.

    Args:
        path: the file, or a folder that ``save_to_disk`` of ``datasets`` wrote.
        encoding: of a text file without a byte-order mark; None: UTF-8.

    Raises:
        CompressError: the file cannot be read, is malformed, or has no rows.
    """
    if is_saved_dataset(path):
        table = read_saved_dataset(path)
    elif path.is_dir():
        raise CompressError(f"{path}: a folder where a file is needed; name a file in it")
    else:
        table = _read_file(path, encoding)
    if not table.numbers:
        raise CompressError(f"{path}: there are no rows; each row needs a text and a label")
    return table


def _read_file(path: Path, encoding: str | None) -> Table:
    reader = _READERS.get(suffix_of(path))
    if reader is None:
        raise CompressError(f"{path}: files of this kind are not read; give one that ends in {FORMATS}")
    try:
        content = read_bytes(path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise CompressError(f"{path}: {reason}; give a file that can be read") from None
    return reader(path, content, encoding)
