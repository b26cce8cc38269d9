"""A file's bytes and its text: compression, encodings, and files whose content is not what their name says."""

import codecs
import gzip
import zlib
from pathlib import Path

from compress.errors import CompressError
from compress.progress import say_before_work

COMPRESSIONS = (".gz", ".zst")
_MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_NOT_TEXT = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
    (b"<!doctype html", "is a web page, not the file itself; download the raw file"),
    (b"<html", "is a web page, not the file itself; download the raw file"),
    (b"par1", "is a Parquet file; give it a name that ends in .parquet"),
    (b"\x1f\x8b", "is compressed with gzip; add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard; add .zst to its name"),
    (b"pk\x03\x04", "is a ZIP archive or an Excel file; unpack it, or give it a name that ends in .xlsx"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel file; save it as .xlsx or .csv"),
    (b"arrow1\x00\x00", "is an Arrow file; give it a name that ends in .arrow"),
)


def suffix_of(path: Path) -> str:
    """The suffix that names the format, in lower case and without a compression's: ``.csv`` of ``train.csv.gz``."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return plain.suffix.lower()


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed where its name ends in ``.gz`` or ``.zst``.

    Raises:
        CompressError: it is damaged, or the package that reads it is not installed.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    try:
        match path.suffix.lower():
            case ".gz":
                return gzip.decompress(content)
            case ".zst":
                return _zstandard(path, content)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CompressError(f"{path}: not a whole gzip file ({error}); make or download it again") from None
    return content


def decode(path: Path, content: bytes, encoding: str | None = None) -> str:
    """The text of a file: in the encoding of its byte-order mark, else in ``encoding``, else in UTF-8.

    Raises:
        CompressError: it is not text, or not in that encoding; the message names the line.
    """
    start = content[:32].lower()
    for magic, reason in _NOT_TEXT:
        if start.startswith(magic):
            raise CompressError(f"{path}: {reason}")
    name = next((name for mark, name in _MARKS if content.startswith(mark)), encoding or "utf-8")
    try:
        text = content.decode(name)
    except LookupError:
        raise CompressError(
            f"--encoding {name}: no such text encoding; give a name such as cp1252, gbk or utf-16-le"
        ) from None
    except UnicodeError as error:
        raise CompressError(_not_in(path, content, name, error)) from None
    if "\0" in text[:1_000].partition("\n")[0]:
        raise CompressError(
            f"{path}, line 1: has zero bytes, so it is not text, or is UTF-16 without a byte-order mark; "
            f"find its encoding and pass it, for example --encoding utf-16-le"
        )
    if encoding and any("\x80" <= character <= "\x9f" for character in text[:100_000]):
        say_before_work(
            f"{path}: has control characters when read as {name}, as no text has; --encoding is probably another"
        )
    return text.removeprefix("\ufeff")


def _not_in(path: Path, content: bytes, name: str, error: UnicodeError) -> str:
    remedy = "find the encoding that it was saved in and pass it, for example --encoding cp1252"
    label = "UTF-8" if name.startswith("utf-8") else name
    if not isinstance(error, UnicodeDecodeError):
        return f"{path}: not {label} ({' '.join(str(error).split())}); {remedy}"
    line = content.count(b"\n", 0, error.start) + 1
    byte = f"byte 0x{content[error.start]:02x} at offset {error.start}"
    return f"{path}, line {line}: not {label} ({byte}); {remedy}"


def _zstandard(path: Path, content: bytes) -> bytes:
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
