"""The library that counts and breaks file operations: built if there is a compiler, armed in the process."""

import ctypes
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


class How(IntEnum):
    """What happens at the n-th operation, by its name in ``faults.c``."""

    COUNT = 0  # nothing
    KILL = 1
    FULL_ONCE = 2  # ENOSPC
    FULL_FROM = 3
    BROKEN_ONCE = 4  # EIO


def compiler() -> str | None:
    """A C compiler, where this system can have such a library."""
    return shutil.which("cc") if sys.platform == "linux" else None


def build(folder: Path) -> Path:
    """The library, for ``LD_PRELOAD``."""
    path = folder / "faults.so"
    subprocess.run([str(compiler()), "-shared", "-fPIC", "-O1", "-o", str(path), str(SOURCE), "-ldl"], check=True)
    return path


def arm(below: Path, how: How, at: int) -> None:
    """Count this process's operations in the folder ``below`` from now on; ``how`` happens at number ``at``."""
    ctypes.CDLL(None).faults_arm(str(below).encode(), int(how), ctypes.c_long(at))


def counted() -> int:
    """Operations since the last :func:`arm`."""
    return int(ctypes.CDLL(None).faults_count())
