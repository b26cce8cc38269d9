"""Files and folders that survive a kill, a power cut and a full disk: under its name each is whole, or absent."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from compress.errors import CompressError

# The system's error numbers where the disk and not the program is at fault.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_SEAL = "manifest_sha256"
_BEFORE_SEAL = f'  "{_SEAL}": "'.encode()


def sync(path: Path) -> None:
    """Return when the disk holds a file, or a folder with all files below it, where the file system can tell.

    Raises:
        OSError: the disk is full or fails.
    """
    for part in (*path.rglob("*"), path):
        _sync_one(part)


def _sync_one(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:  # Windows opens no folder, some network and shared file systems sync none
        if error.errno in _DISK_ERRORS:
            raise


def put_in_place(partial: Path, final: Path) -> None:
    """Give a file or folder that the disk holds (see :func:`sync`) its final name; a file replaces an older one."""
    partial.replace(final)
    with suppress(OSError):  # the name is there; some systems cannot wait for a folder
        _sync_one(final.parent)


def remove(folder: Path) -> None:
    """Remove a folder. It is renamed first, so a kill leaves no half of it under its name."""
    from shutil import rmtree  # slow, and no part of loading a model

    away = folder.with_name(f"{folder.name}.removed")
    rmtree(away, ignore_errors=True)
    with suppress(OSError):
        folder.rename(away)
    # Also under its own name, in case the rename was refused; then once more for files that failed.
    for left in (away, folder, away):
        rmtree(left, ignore_errors=True)


def partial_of(path: Path) -> Path:
    """The file that :func:`write_whole` writes and then renames to ``path``; a kill may leave it there."""
    return path.with_name(f".{path.name}.partial")


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; one process at a time may write it."""
    partial = partial_of(path)
    try:
        partial.write_text(text, encoding="utf-8")
        sync(partial)
        put_in_place(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def parse_json(content: str | bytes) -> Any:
    """Parse JSON; ValueError where it is none, or is nested beyond Python's depth."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON whose last entry is the sha256 of all bytes before it."""
    text = json.dumps(content, indent=2, ensure_ascii=False).encode(errors="backslashreplace")  # a lone surrogate
    head = text.removesuffix(b"\n}") + b",\n" + _BEFORE_SEAL
    path.write_bytes(head + _end(head))


def read_sealed(path: Path, *, required: bool = True) -> dict[str, Any]:
    """The object that :func:`write_sealed` wrote; without ``required`` a file without the last entry passes too.

    Raises:
        ValueError: a byte of the file was changed, or it holds no JSON object.
    """
    content = path.read_bytes()
    document = parse_json(content)
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    if _SEAL in document or required:
        document.pop(_SEAL, None)
        head = content[: content.rfind(_BEFORE_SEAL) + len(_BEFORE_SEAL)]
        if content != head + _end(head):
            raise ValueError("changed since it was written")
    elif re.fullmatch("[0-9a-f]{64}", str(next(reversed(document.values()), ""))):
        raise ValueError("its last entry is a digest under a changed name")
    return document


def _end(head: bytes) -> bytes:
    return hashlib.sha256(head).hexdigest().encode() + b'"\n}\n'


def disk_failure(error: BaseException | None) -> str | None:
    """The system's message where ``error`` comes from a failure of the disk; None for any other error.

    PyTorch raises errors of its own over the system's. Libraries in Rust (safetensors, tokenizers) give the system's
    error number only in their message.
    """
    while error is not None:
        named = re.search(r"\(os error (\d+)\)", str(error))
        number = int(named.group(1)) if named else error.errno if isinstance(error, OSError) else None
        if number in _DISK_ERRORS:
            return os.strerror(number)
        from_torch = isinstance(error, RuntimeError) and not error.__suppress_context__  # PyTorch names no cause
        error = error.__context__ if from_torch else error.__cause__
    return None


def is_full(reason: str) -> bool:
    """Whether the ``reason`` that :func:`disk_failure` gave is a full disk."""
    return reason in {os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)}


def _concerns(error: OSError, below: Path) -> bool:
    """Whether ``error`` is about a file to be written in the folder ``below``; a missing one was to be read."""
    named = error.filename
    read = error.errno == errno.ENOENT and error.filename2 is None
    return isinstance(named, str | Path) and not read and Path(named).absolute().is_relative_to(below.absolute())


@contextmanager
def write_errors_in_one_line(what: str, below: Path) -> Iterator[None]:
    """Turn a failure of the disk, or any system error about files in the folder ``below``, into one line."""
    try:
        yield
    except CompressError:
        raise
    except Exception as error:
        reason = disk_failure(error)
        if reason is None and isinstance(error, OSError) and _concerns(error, below):
            reason = error.strerror
        if reason is None:
            raise
        raise CompressError(
            f"{what}: cannot be written ({reason}); free some space or mend the disk, "
            "then run the same command again, or choose another place"
        ) from None
