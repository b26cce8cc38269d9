"""Commands and other work in forks of this process, at once, also where each has process numbers of its own."""

import ctypes
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.processes import in_fork

_CLONE_NEWPID = 0x20000000  # sched.h
_APART_S = 0.4  # at most, between the starts of two


@dataclass(frozen=True)
class Ended:
    """How one ended: its status, or the negative signal; and what it said on stderr."""

    status: int
    told: str


def at_once(
    work: Sequence[Callable[[], int]], place: Path, rng: random.Random, *, contained: bool = False
) -> list[Ended]:
    """Each of ``work`` in a process of its own, started a moment apart; ``contained``: each as process 1 of its own."""
    files = [place / f"told-{number}" for number in range(len(work))]
    waits = [rng.uniform(0, _APART_S) for _ in work]
    children = [_start(*each, contained=contained) for each in zip(work, files, waits, strict=True)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [Ended(status, file.read_text("utf-8", "replace")) for status, file in zip(statuses, files, strict=True)]


def can_contain() -> bool:
    """Whether this user may make process numbers of their own."""
    child = os.fork()
    if child == 0:
        os._exit(_unshare())
    return os.waitpid(child, 0)[1] == 0


def _start(work: Callable[[], int], told: Path, wait_s: float, *, contained: bool) -> int:
    def after_a_moment() -> int:
        if contained:
            assert _unshare() == 0
            if inner := os.fork():
                os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 0xFF)
            assert os.getpid() == 1
        time.sleep(wait_s)
        return work()

    return in_fork(after_a_moment, told)


def _unshare() -> int:
    """Children of this process are numbered from 1; 0 where that was granted."""
    return int(ctypes.CDLL(None).unshare(_CLONE_NEWPID))
