"""Many cases of one kind, each in a child process that may die of it, and what escaped, by type."""

import faulthandler
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from compress.clock import Stopwatch
from compress.progress import be_quiet
from tests.fuzz.kinds import KINDS
from tests.processes import memory_folder

_A_CASE_AT_MOST_S = 20  # of CPU; a case that takes longer is killed and counted
_SLOW_S = 5.0  # of CPU
SLOW = "slow"


@dataclass
class Found:
    """How many cases were tried, and by type of what escaped their numbers and the first one's story."""

    cases: int = 0
    escapes: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: str, number: int, story: str) -> None:
        self.escapes[kind] += 1
        self.first.setdefault(kind, (number, story))


def tried(kind: str, numbers: range, minutes: float = math.inf) -> Found:
    """Try the cases of these numbers that begin within so long; one that ends its process is counted by the signal."""
    found, at, watch = Found(), numbers.start, Stopwatch()
    with tempfile.TemporaryDirectory(dir=memory_folder()) as place:
        while at < numbers.stop and watch.seconds < 60 * minutes:
            at = _in_a_child(kind, range(at, numbers.stop), 60 * minutes - watch.seconds, found, Path(place))
    found.cases = at - numbers.start
    return found


def _in_a_child(kind: str, numbers: range, most_s: float, found: Found, place: Path) -> int:
    """Try cases in one child until it is done or dies, or the time is over; returns the number to go on with."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _silence()
        with os.fdopen(write, "w", encoding="utf-8", buffering=1, errors="backslashreplace") as told:
            watch = Stopwatch()
            for number in numbers:
                if watch.seconds > most_s:
                    break
                told.write(f"{number}\n")
                signal.setitimer(signal.ITIMER_PROF, _A_CASE_AT_MOST_S)
                if (escape := one(kind, number, place)) is not None:
                    told.write("\t".join((*escape,)).replace("\n", " / ") + "\n")
        os._exit(0)
    os.close(write)
    last = numbers.start - 1
    with os.fdopen(read, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.rstrip("\n").isdecimal():
                last = int(line)
            else:
                name, _, story = line.rstrip("\n").partition("\t")
                found.add(name, last, story)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        last = max(last, numbers.start)  # else one that died before it had begun any would be started for ever
        found.add(signal.Signals(os.WTERMSIG(status)).name, last, "the process died")
    return last + 1


def one(kind: str, number: int, place: Path) -> tuple[str, str] | None:
    """What escaped from a case, by type, and its story; None if nothing did."""
    folder = place / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before = time.process_time()
    try:
        KINDS[kind](random.Random(f"{kind} {number}"), folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return type(error).__name__, traceback.format_exc(limit=-6)
    return (SLOW, f"{time.process_time() - before:.1f} s") if time.process_time() - before > _SLOW_S else None


def _silence() -> None:
    """Panics and warnings of libraries go to the child's stderr, which nobody reads."""
    be_quiet(True)
    faulthandler.disable()
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
    sys.stdout = sys.stderr
