"""Folders that are written whole or not at all, or grow from run to run, by one process at a time.

While ``out`` is made, these lie beside it: ``.out.lock``, which the kernel frees when its process ends, however it ends
and in whatever container; ``.out.partial``, the new folder; ``.out.old``, the old one for the moment of a replacement;
and ``.out.unfinished`` with a training's checkpoints, which stays until ``out`` is there. No ending has a dot of its
own, or a file beside ``m`` could have the name of one beside ``m.old``, under another lock.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from compress.durable import partial_of, put_in_place, remove, sync, write_errors_in_one_line
from compress.errors import CompressError
from compress.folder import MANIFEST, SEARCH
from compress.locks import LockedError, locked
from compress.replacement import between_renames, set_aside

# Our folders are recognized by a file and keys that it must have, as the files' names are common.
OUR_MARKS = {
    MANIFEST: {"format_version", "files"},
    "dataset.json": {"task", "rows"},
    "results.json": {"machine", "models"},
    SEARCH: {"about", "tries"},
}
LOCK = ".lock"  # in a folder that grows


def check_place(out: Path, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse an output that is no folder, or that holds an input or the folder that the command runs in."""
    if _holds(out, Path.cwd()):
        raise CompressError(f"--out {out}: holds the folder that this command runs in; name one inside it")
    for path in inputs:
        if path.exists() and _holds(out, path):
            raise CompressError(
                f"--out {out}: holds the input {path}; a step never writes into its input, choose another"
            )
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CompressError(f"--out {out}: exists and is not a folder; choose another")


def check_outside(out: Path, models: Iterable[Path]) -> None:
    """Refuse to let a run or a search grow inside a plain model's folder, where every file counts as the model's.

    Whatever it wrote there would change its own input, and so invalidate all that it did.
    """
    for model in models:
        if model.is_dir() and _holds(model, out) and not (model / MANIFEST).is_file():
            raise CompressError(f"--out {out}: lies in the model's folder {model}; choose one outside it")


def _holds(folder: Path, path: Path) -> bool:
    """Whether ``path`` is ``folder`` or lies in it, by any name: case may not count, or a disk be mounted twice."""
    for place in (resolved := path.resolve(), *resolved.parents):
        with suppress(OSError):  # one of the two is not there, or not yet
            if place.samefile(folder):
                return True
    return False


def check_out(out: Path, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Refuse an output folder that exists, unless ``overwrite`` is given and compress made it."""
    check_place(out, inputs)
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
        with suppress(OSError, ValueError, TypeError, RecursionError):
            if keys <= set(json.loads((folder / name).read_text(encoding="utf-8"))):
                return True
    return False


def unfinished(out: Path) -> Path:
    """The folder of a killed step's checkpoints: beside ``out``, which is complete or absent."""
    return _beside(out, "unfinished")


@contextmanager
def new_folder(out: Path, *, overwrite: bool = False, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A temporary sibling of ``out`` to write into; it takes the name ``out`` at the end, or vanishes on any error."""
    partial = _beside(out, "partial")
    with ExitStack() as at_the_end:
        with _can_be_written(out):
            _make_parents(out, at_the_end)
            lock = _beside(out, "lock")
            held = f"--out {out}: another process is writing it and holds {lock}; wait for it, or choose another"
            _lock(lock, held, at_the_end)
            at_the_end.callback(_remove_file, lock)  # before it is released: a lock on a removed file is none
            _restore(out)
            check_out(out, overwrite, inputs)  # after _restore: a folder that a killed process set aside counts
            _sweep(out)  # after check_out: a refused step removes nothing
            partial.mkdir()
        at_the_end.callback(shutil.rmtree, partial, ignore_errors=True)
        with write_errors_in_one_line(f"--out {out}", below=partial):
            yield partial
            check_out(out, overwrite)  # somebody may have put a folder there meanwhile
            _swap(partial, out)
            remove(unfinished(out))


@contextmanager
def growing_folder(out: Path, work: str, state: str, *, state_is_worth_keeping: bool) -> Iterator[None]:
    """Lock the folder ``out`` of a ``work``, ``run`` or ``search``, which goes on there when it is started again.

    The folder is made where there is none, with those above it. It is removed again if the work leaves nothing but its
    lock in it, also where a killed work made it; ``state``, the file with the work's record, counts as nothing where it
    is not worth keeping.
    """
    nothing = {LOCK, partial_of(Path(state)).name}  # all that a work leaves if it is killed before it writes its state
    if out.exists() and not (out.is_dir() and (_names(out) <= nothing or (out / state).is_file())):
        raise CompressError(f"--out {out}: exists and is not the folder of a {work}; choose another")
    users_own = out.exists() and not _names(out)
    with ExitStack() as at_the_end:
        with _can_be_written(out):
            _make_parents(out / state, at_the_end)
        at_the_end.enter_context(write_errors_in_one_line(f"--out {out}", below=out))
        if os.access(out, os.W_OK):  # finished work on a read-only volume needs no lock
            _lock(
                out / LOCK, f"--out {out}: another {work} is writing there; wait for it or choose another", at_the_end
            )
        try:
            yield
        finally:
            _take_away(out, nothing if state_is_worth_keeping else {*nothing, state}, users_own=users_own)


def _take_away(folder: Path, nothing: set[str], *, users_own: bool) -> None:
    """Remove a folder that holds no more than ``nothing``; one that was the user's own is only emptied."""
    with suppress(OSError):  # somebody has removed the folder meanwhile
        if _names(folder) <= nothing:
            for path in folder.iterdir():
                path.unlink()
            if not users_own:
                folder.rmdir()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _beside(out: Path, what: str) -> Path:
    return out.parent / f".{out.name}.{what}"


def _make_parents(out: Path, at_the_end: ExitStack) -> None:
    for parent in reversed([parent for parent in out.parents if not parent.exists()]):
        parent.mkdir(exist_ok=True)
        at_the_end.callback(_remove_if_empty, parent)  # else it holds the result, or somebody else's file


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _can_be_written(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CompressError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from None


def _lock(path: Path, held: str, at_the_end: ExitStack) -> None:
    try:
        at_the_end.enter_context(locked(path))
    except LockedError:
        raise CompressError(held) from None


def _remove_file(path: Path) -> None:
    for _ in range(2):  # a disk that fails once would leave the file there for good
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _swap(partial: Path, out: Path) -> None:
    old = set_aside(out)
    sync(partial)
    if out.exists():
        out.rename(old)
    try:
        put_in_place(partial, out)
    except BaseException:  # Ctrl-C too
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    remove(old)


def _restore(out: Path) -> None:
    """Give the old folder its name back if a process was killed between the two renames of a swap."""
    if between_renames(out):
        set_aside(out).rename(out)


def _sweep(out: Path) -> None:
    """Remove what a killed process left half-written; as the lock is held, no living process is at work."""
    for left in (set_aside(out), *(_beside(out, what) for what in ("partial", "old.removed", "unfinished.removed"))):
        shutil.rmtree(left, ignore_errors=True)
