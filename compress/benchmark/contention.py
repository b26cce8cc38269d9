"""Whether the machine was quiet: the CPU time that other processes took while the workers were timed."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compress.clock import Stopwatch

_PROC = Path("/proc")
_IDLE_FIELDS = (3, 4)  # idle, iowait; what a virtual machine's host took (steal) counts as busy
_FIELDS = 8  # those after it are parts of the first two


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy others kept the machine.

    Attributes:
        other_cpus: CPUs' worth of work that other processes did, on average, on the CPUs that bench may use.
        cpus: that bench may use.
        seconds: how long this was watched.
    """

    other_cpus: float
    cpus: int
    seconds: float


class CpuWatch:
    """Adds up, over the stretches in which something is timed, what others took of the CPUs.

    Args:
        proc: where Linux shows its counters; elsewhere nothing is known.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._other_s = self._watched_s = 0.0

    @contextmanager
    def timing(self, sessions: Iterable[int]) -> Iterator[None]:
        """Watch while the body runs; ``sessions`` are process sessions that count as ours, besides this process."""
        ours = frozenset(sessions)
        before, watch = self._others_s(ours), Stopwatch()
        try:
            yield
        finally:
            now = self._others_s(ours)
            if before is not None and now is not None:
                self._other_s += max(now - before, 0.0)
                self._watched_s += watch.seconds

    def busy(self) -> Busy | None:
        """What was found; None where the system does not tell or nothing was watched."""
        if not self._watched_s:
            return None
        return Busy(self._other_s / self._watched_s, len(self._cpus), self._watched_s)

    def _others_s(self, ours: frozenset[int]) -> float | None:
        """Seconds of work on our CPUs since some moment, less our own."""
        try:
            lines = (self._proc / "stat").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        ticks = 0
        wanted = {f"cpu{number}" for number in self._cpus}
        for name, *fields in map(str.split, lines):
            if name in wanted:
                ticks += sum(int(field) for place, field in enumerate(fields[:_FIELDS]) if place not in _IDLE_FIELDS)
        own = os.times()
        # Workers that have ended are among this process's children; those that live are looked up.
        own_s = own.user + own.system + own.children_user + own.children_system
        return ticks / os.sysconf("SC_CLK_TCK") - own_s - self._living_s(ours)

    def _living_s(self, sessions: frozenset[int]) -> float:
        """CPU time of all processes of these sessions, with what they started: compilers, for one."""
        ticks = 0
        for path in self._proc.glob("[0-9]*/stat"):
            try:
                told = path.read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has just ended
                continue
            fields = told.rpartition(")")[2].split()  # a process's name may hold anything, spaces too
            if int(fields[3]) in sessions:
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")
