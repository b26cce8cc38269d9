"""One process at a time: locks that the kernel frees when their process ends, in whatever container it ran."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from compress.progress import say_before_work

# The system's error numbers where the file system, and not another process, is the reason for no lock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file ``path``; a file system without locks is reported once, and then nothing is held.

    Raises:
        LockedError: another process holds it, unless ``wait``.
        OSError: the file cannot be made.
    """
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock outlives a process that is killed
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        raise LockedError from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _say_unlocked(path.parent)
    try:
        yield
    finally:
        lock.release()


@cache
def _say_unlocked(folder: Path) -> None:
    say_before_work(f"the file system of {folder} has no locks: let no two processes write there at once")
