"""Reading a folder that may be replaced meanwhile: all that is read comes from one and the same folder."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, peek, read_manifest

# A replaced folder is read again, for two seconds at least.
_TRIES, _PAUSE_S = 100, 0.02

Opened = TypeVar("Opened")


def open_whole(folder: Path, open_files: Callable[[Manifest], Opened]) -> Opened:
    """The result of ``open_files`` for a whole folder; it is called again if the folder was replaced meanwhile."""
    for _ in range(_TRIES):
        before = _stamps(folder)
        try:
            opened = open_files(read_manifest(folder))
        except Exception:
            if _stamps(folder) == before and not between_renames(folder):
                raise
        else:
            if _stamps(folder) == before:
                return opened
        time.sleep(_PAUSE_S)
    if between_renames(folder):
        raise CompressError(
            f"{folder}: is being replaced, or the command that replaced it was killed; wait for it, or run it again"
        )
    raise CompressError(f"{folder}: its files changed each time they were read; wait until nothing writes them")


def set_aside(folder: Path) -> Path:
    """The path of a folder for the moment in which another takes its name."""
    return folder.parent / f".{folder.name}.old"


def between_renames(folder: Path) -> bool:
    """Whether a folder was set aside and its replacement does not have its name yet."""
    return set_aside(folder).exists() and not folder.exists()


def _stamps(folder: Path) -> list[tuple[int, ...] | None]:
    """Stamps that change when the folder, one of its files or a link on the way there is replaced.

    Other files may come and go in the folder. Inode numbers are left out: some mounts make them up anew.
    """
    manifest = None
    with suppress(CompressError, OSError):
        manifest = peek(folder)
    way = (folder.absolute(), *folder.absolute().parents)
    names = sorted(manifest.names) if manifest else []
    links = [_stamp(part, follow_symlinks=False) for part in way if part.is_symlink()]
    return [*links, _renamed(folder), *(_stamp(folder / name) for name in (MANIFEST, *names))]


def _stamp(path: Path, *, follow_symlinks: bool = True) -> tuple[int, ...] | None:
    try:
        status = path.stat(follow_symlinks=follow_symlinks)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _renamed(folder: Path) -> tuple[int, ...] | None:
    """The time of a folder's last rename; nothing if a file came or went in it since."""
    stamp = _stamp(folder)
    if stamp is None:
        return None
    _, modified, changed = stamp  # a rename changes the second alone
    return (changed,) if changed != modified else ()
