"""A model is a folder: its manifest, its digests, and how a folder comes to exist whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from glob import escape
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from compress.errors import CompressError

MANIFEST = "compress.json"
FORMAT_VERSION = 1
Kind = Literal["torch", "onnx", "single_file", "tei", "triton"]
# What tells our folders from others: a file, and keys that it must have, for the names are common.
OUR_MARKS = {
    MANIFEST: {"format_version", "files"},
    "dataset.json": {"task", "rows"},
    "results.json": {"machine", "models"},
}


@dataclass(frozen=True)
class File:
    """One file of a model folder; ``name`` is relative to the folder, with forward slashes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What ``compress.json`` says of a model folder; ``single_file``, ``tei`` and ``triton`` are for others to run."""

    kind: Kind
    task: str
    labels: tuple[str, ...]
    max_length: int
    parameters: int
    history: tuple[dict[str, Any], ...]
    files: tuple[File, ...] = field(default=())
    format_version: int = FORMAT_VERSION

    @property
    def digest(self) -> str:
        """sha256 over the names and contents of all files: two folders with one digest hold the same model."""
        listing = "\n".join(f"{file.name} {file.sha256}" for file in sorted(self.files, key=lambda file: file.name))
        return hashlib.sha256(listing.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole folder; files that are missing, truncated or changed are refused by name."""
    path = folder / MANIFEST
    if folder.is_file():
        raise CompressError(f"{folder}: is a file; give the folder that a step wrote")
    if not folder.is_dir():
        raise CompressError(f"{folder}: no such folder; give the folder that a step wrote")
    if not path.is_file():
        raise CompressError(f"{folder}: not a model folder, it has no {MANIFEST}; give the folder that a step wrote")
    try:
        manifest = _parse(path)
        for file in manifest.files:
            _check(folder, file)
    except OSError as error:
        raise CompressError(f"{error.filename}: cannot be read ({error.strerror}); make the folder readable") from None
    return manifest


def manifest_kind(folder: Path) -> Kind | None:
    """What the manifest says that the folder is, its files unread; None for a folder without a manifest."""
    path = folder / MANIFEST
    return _parse(path).kind if path.is_file() else None


def _parse(path: Path) -> Manifest:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw["format_version"]
        if version > FORMAT_VERSION:
            raise CompressError(f"{path}: format_version {version} is newer than this package reads; upgrade compress")
        return Manifest(
            kind=raw["kind"],
            task=raw["task"],
            labels=tuple(raw["labels"]),
            max_length=raw["max_length"],
            parameters=raw["parameters"],
            history=tuple(raw["history"]),
            files=tuple(File(**file) for file in raw["files"]),
            format_version=version,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CompressError(f"{path}: damaged ({error!r}); make the folder again") from None


def _check(folder: Path, file: File) -> None:
    path = folder / file.name
    parts = PureWindowsPath(file.name)  # it knows the separators of all systems
    if parts.anchor or ".." in parts.parts:  # a link is no harm, wherever it leads: the digest guards the content
        raise CompressError(f"{folder / MANIFEST}: lists {file.name}, which lies outside the folder; do not use it")
    if not path.is_file():
        raise CompressError(f"{path}: missing, though {MANIFEST} lists it; make or copy the folder again")
    size = path.stat().st_size
    if size != file.bytes:
        raise CompressError(f"{path}: has {size} bytes, {MANIFEST} says {file.bytes}; make or copy the folder again")
    if _sha256(path) != file.sha256:
        raise CompressError(f"{path}: changed since it was written; make or copy the folder again")


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Digest every file in ``folder`` and write the manifest, last; returns it with its files."""
    files = tuple(
        File(path.relative_to(folder).as_posix(), path.stat().st_size, _sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    )
    whole = Manifest(**{**vars(manifest), "files": files})
    (folder / MANIFEST).write_text(json.dumps(asdict(whole), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return whole


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(path: Path) -> str:
    """sha256 of a file's content, or over the names and contents of all files below a folder."""
    if path.is_file():
        return _sha256(path)
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    listing = "\n".join(f"{file.relative_to(path).as_posix()} {_sha256(file)}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def check_out(out: Path, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse an output folder that would overwrite something, before any work is done."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise CompressError(f"--out {out}: holds the folder that this command runs in; name one inside it")
    for path in inputs:
        if path.exists() and path.resolve().is_relative_to(out.resolve()):
            raise CompressError(
                f"--out {out}: holds the input {path}; a step never writes into its input, choose another"
            )
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CompressError(f"--out {out}: exists and is not a folder; choose another")
    if out.exists():
        if not overwrite:
            raise CompressError(f"--out {out}: exists; choose another, or add --overwrite to replace it")
        if any(out.iterdir()) and not is_ours(out):
            raise CompressError(
                f"--out {out}: was not made by compress, so --overwrite leaves it alone; choose another"
            )


def is_ours(folder: Path) -> bool:
    """Whether compress wrote this folder."""
    for name, keys in OUR_MARKS.items():
        with suppress(OSError, ValueError, TypeError):
            if keys <= set(json.loads((folder / name).read_text(encoding="utf-8"))):
                return True
    return False


@contextmanager
def new_folder(out: Path, *, overwrite: bool = False, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A temporary sibling of ``out`` to write into; it takes the name ``out`` at the end, or vanishes on any error."""
    partial = out.parent / f".{out.name}.{_writer(os.getpid())}.partial"
    try:
        _sweep(out)
        check_out(out, overwrite, inputs)
        new_parents = [parent for parent in out.parents if not parent.exists()]
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        raise CompressError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from None
    try:
        yield partial
        check_out(out, overwrite)  # another process may have finished there meanwhile
        _swap(partial, out)
    except OSError as error:
        about_out = error.filename is not None and str(partial) in str(error.filename)
        if not about_out and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise CompressError(
            f"--out {out}: cannot be written ({error.strerror}); free some space or choose another"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in new_parents:
            with suppress(OSError):  # it holds the result, or somebody else's file
                parent.rmdir()


def _swap(partial: Path, out: Path) -> None:
    old = out.parent / f".{out.name}.{_writer(os.getpid())}.old.partial"
    if out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what a killed process left half-written; what a living one is writing stays."""
    for left, writer in _half_written(out):
        if not _alive(writer):
            if left.name.endswith(".old.partial") and not out.exists():
                left.rename(out)  # killed between the two renames of a swap
            else:
                shutil.rmtree(left, ignore_errors=True)


def being_written(out: Path) -> bool:
    """Whether another process that lives is at work on ``out``."""
    return any(writer != _writer(os.getpid()) and _alive(writer) for _, writer in _half_written(out))


def _half_written(out: Path) -> Iterator[tuple[Path, str]]:
    """What steps on their way to ``out`` write into, and who each of them is."""
    for left in out.parent.glob(f".{escape(out.name)}.*.partial"):
        writer = left.name.removeprefix(f".{out.name}.").split(".")[0]
        if writer.partition("-")[0].isdigit():
            yield left, writer


def _writer(pid: int) -> str:
    """A process by its number and when it began; in containers every run has the same number."""
    try:
        since_boot = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:  # not on Linux, or it has ended
        since_boot = "0"
    return f"{pid}-{since_boot}"


def _alive(writer: str) -> bool:
    pid = int(writer.partition("-")[0])
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return _writer(pid) == writer
