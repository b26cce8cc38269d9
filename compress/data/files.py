"""Reads a file, or a folder of ``datasets``, into a table: chooses the reader by the name and decompresses."""

import codecs
import gzip
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from compress.data.binary_files import is_saved_dataset, read_arrow, read_excel, read_parquet, read_saved_dataset
from compress.data.tables import Table
from compress.data.text_files import read_delimited, read_json, read_jsonl
from compress.errors import CompressError
from compress.progress import say_before_work

_TEXT_READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": partial(read_delimited, usual=","),
    **dict.fromkeys((".tsv", ".tab", ".txt"), partial(read_delimited, usual="\t")),
    **dict.fromkeys((".jsonl", ".ndjson"), read_jsonl),
    ".json": read_json,
}
_BINARY_READERS = {".parquet": read_parquet, ".arrow": read_arrow, ".xlsx": read_excel}
_COMPRESSIONS = (".gz", ".zst")
SUFFIXES = {*_TEXT_READERS, *_BINARY_READERS, *_COMPRESSIONS}
FORMATS = f"{', '.join((*_TEXT_READERS, *_BINARY_READERS))}, also with {' or '.join(_COMPRESSIONS)} behind"
_MARKS = (  # byte-order marks, longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_NOT_TEXT = (  # patterns of how a file begins
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
    (rb"(?i)<!doctype html|<html", "is a web page, not the file itself; download the raw file"),
    (rb"PAR1[^ -~\s]", "is a Parquet file; give it a name that ends in .parquet"),  # "PAR1," may begin a CSV header
    (rb"\x1f\x8b", "is compressed with gzip; add .gz to its name"),
    (rb"\x28\xb5\x2f\xfd", "is compressed with Zstandard; add .zst to its name"),
    (rb"PK\x03\x04", "is a ZIP archive or an Excel file; unpack it, or give it a name that ends in .xlsx"),
    (rb"\xd0\xcf\x11\xe0", "is an old Excel file; save it as .xlsx or .csv"),
    (rb"ARROW1\x00\x00", "is an Arrow file; give it a name that ends in .arrow"),
)


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a file by its suffix, or a folder that ``save_to_disk`` of ``datasets`` wrote.

    ``encoding`` is the encoding of a text file without a byte-order mark; None: UTF-8.
    """
    suffix = _suffix_of(path)
    if is_saved_dataset(path):
        table = read_saved_dataset(path)
    elif path.is_dir():
        raise CompressError(f"{path}: a folder where a file is needed; name a file in it")
    elif suffix in _TEXT_READERS:
        table = _TEXT_READERS[suffix](path, _decode(path, _read_bytes(path), encoding))
    elif suffix in _BINARY_READERS:
        table = _BINARY_READERS[suffix](path, _read_bytes(path))
    else:
        raise CompressError(f"{path}: files of this kind are not read; give one that ends in {FORMATS}")
    if not table.numbers:
        raise CompressError(f"{path}: there are no rows; each row needs a text and a label")
    return table


def is_readable(path: Path) -> bool:
    """Whether the file's name has a format that is read, or the folder is one that ``datasets`` saved."""
    return is_saved_dataset(path) if path.is_dir() else _suffix_of(path) in _TEXT_READERS | _BINARY_READERS


def _suffix_of(path: Path) -> str:
    """The suffix of the format, in lower case: ``.csv`` for ``train.csv.gz``."""
    plain = path.with_suffix("") if path.suffix.lower() in _COMPRESSIONS else path
    return plain.suffix.lower()


def _read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed where its name ends in ``.gz`` or ``.zst``."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CompressError(f"{path}: {error.strerror or error}; give a file that can be read") from None
    if path.suffix.lower() == ".zst":
        return _decompress_zstandard(path, content)
    if path.suffix.lower() != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CompressError(f"{path}: not a whole gzip file ({error}); make or download it again") from None


def _decompress_zstandard(path: Path, content: bytes) -> bytes:
    try:
        import zstandard
    except ImportError:
        raise CompressError(f"{path}: needs the package zstandard; 'pip install zstandard', or decompress it") from None
    try:
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as stream:
            whole: bytes = stream.read()
    except zstandard.ZstdError as error:
        raise CompressError(f"{path}: not a whole Zstandard file ({error}); make or download it again") from None
    return whole


def _decode(path: Path, content: bytes, encoding: str | None) -> str:
    """The text of a file: in the encoding of its byte-order mark, else in ``encoding``, else in UTF-8."""
    for beginning, reason in _NOT_TEXT:
        if re.match(beginning, content):
            raise CompressError(f"{path}: {reason}")
    name = next((name for mark, name in _MARKS if content.startswith(mark)), encoding or "utf-8")
    try:
        text = content.decode(name)
    except LookupError:
        raise CompressError(
            f"--encoding {name}: no such text encoding; give a name such as cp1252, gbk or utf-16-le"
        ) from None
    except UnicodeError as error:
        place, reason = str(path), str(error)
        if isinstance(error, UnicodeDecodeError):
            line = content.count(b"\n", 0, error.start) + 1
            place, reason = f"{path}, line {line}", f"byte 0x{content[error.start]:02x} at offset {error.start}"
        raise CompressError(
            f"{place}: not {'UTF-8' if name.startswith('utf-8') else name} ({reason}); "
            "save it in UTF-8 or, where it holds the data, pass the encoding that it was saved in, for example "
            "--encoding cp1252"
        ) from None
    if "\0" in text[:1_000].partition("\n")[0]:
        raise CompressError(
            f"{path}, line 1: has zero bytes, so it is not text, or is UTF-16 without a byte-order mark; "
            f"find its encoding and pass it, for example --encoding utf-16-le"
        )
    if encoding and any("\x80" <= character <= "\x9f" for character in text[:100_000]):
        say_before_work(
            f"{path}: has control characters when read as {name}; it was probably saved in another --encoding"
        )
    return text.removeprefix("\ufeff")
