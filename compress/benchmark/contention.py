"""How busy other processes keep the CPUs while something is timed."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from compress.clock import Stopwatch
from compress.limits import cpu_numbers

_BUSY_CPUS = 0.1
_CPUS_A_CORE = 2  # hyperthreads at most: what runs beside a thread on its core slows it down
# The host's share of a virtual machine (steal) counts; guest times are parts of the first two.
_WORKING = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Contention:
    """How much other processes used the machine."""

    other_cpus: float  # CPUs' worth of work that other processes did, on average, on the CPUs that bench may use
    cpus: int  # how many bench may use
    threads: int  # the most that were timed at once
    seconds: float  # how long the machine was watched

    @property
    def is_busy(self) -> bool:
        """Whether other processes took enough of the CPUs to spoil the times; on a large machine many are left."""
        return self.other_cpus > _BUSY_CPUS and self.other_cpus + self.threads > self.cpus / _CPUS_A_CORE


class CpuWatch:
    """Adds up the CPU time that other processes take while something is timed."""

    def __init__(self) -> None:
        self._cpus = cpu_numbers()
        self._other_s = self._watched_s = 0.0
        self._threads = 0

    @contextmanager
    def timing(self, sessions: Iterable[int], threads: int) -> Iterator[None]:
        """Watch while the body times something on so many ``threads``.

        ``sessions`` are process sessions that count as bench's own, like this process.
        """
        own, self._threads = frozenset(sessions), max(self._threads, threads)
        before_s, watch = self._others_s(own), Stopwatch()
        try:
            yield
        finally:
            self._other_s += max(self._others_s(own) - before_s, 0.0)
            self._watched_s += watch.seconds

    def contention(self) -> Contention | None:
        """The average over all that was watched; None where nothing was."""
        if not self._watched_s:
            return None
        return Contention(self._other_s / self._watched_s, len(self._cpus), self._threads, self._watched_s)

    def busy(self) -> bool:
        """Whether others spoiled the times of what was watched so far."""
        contention = self.contention()
        return contention is not None and contention.is_busy

    def _others_s(self, sessions: frozenset[int]) -> float:
        """Seconds of work on our CPUs since some moment, less what this process and ``sessions`` did."""
        times = psutil.cpu_times(percpu=True)
        all_s = sum(getattr(times[cpu], kind, 0.0) for cpu in self._cpus if cpu < len(times) for kind in _WORKING)
        own = os.times()
        # Workers that have ended are in this process's times of its children; living ones are looked up.
        own_s = own.user + own.system + own.children_user + own.children_system
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # it has just ended
                if os.getsid(process.pid) in sessions:
                    own_s += sum(process.cpu_times()[:4])  # user and system, with its children's that have ended
        return float(all_s - own_s)
