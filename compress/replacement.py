"""A folder may be replaced while it is read: how that is noticed, and that all that is read is of one and the same."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, peek, read_manifest

# It is read again, for two seconds at least.
_TRIES, _PAUSE_S = 100, 0.02

Opened = TypeVar("Opened")


def open_whole(folder: Path, open_files: Callable[[Manifest], Opened]) -> Opened:
    """What ``open_files`` makes of a whole folder; it is called again where the folder was replaced meanwhile."""
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
    """Where a folder lies for the moment in which another takes its name."""
    return folder.parent / f".{folder.name}.old"


def between_renames(folder: Path) -> bool:
    """Whether a folder was set aside and the one that replaces it does not have its name yet."""
    return set_aside(folder).exists() and not folder.exists()


def _stamps(folder: Path) -> list[tuple[int, ...] | None]:
    """What differs as soon as the folder, a file of it or a link on the way there is another.

    Other files may come and go in the folder meanwhile, and no inode numbers are in it, which some mounts make up anew.
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
        found = path.stat(follow_symlinks=follow_symlinks)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _renamed(folder: Path) -> tuple[int, ...] | None:
    """When a folder got its name, there and back too; nothing if a file came or went in it since."""
    stamp = _stamp(folder)
    if stamp is None:
        return None
    _, modified, changed = stamp  # a rename changes the second alone
    return (changed,) if changed != modified else ()
