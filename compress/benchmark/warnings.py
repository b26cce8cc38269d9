"""Reasons to doubt the figures: busy CPUs, a speed-up with a wide interval, test labels that are badly shared out."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]

from compress import formatting
from compress.benchmark.report.speedup import can_be_stated, of_answers, speedup, speedup_words
from compress.clock import Stopwatch
from compress.data.dataset import some
from compress.limits import cpu_numbers

_BUSY_CPUS = 0.1
# The host's share of a virtual machine (steal) counts; guest times are parts of the first two.
_WORKING = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Contention:
    """How much others used the machine."""

    other_cpus: float  # CPUs' worth of work that other processes did, on average, on the CPUs that bench may use
    cpus: int  # that bench may use
    seconds: float  # how long this was watched


class CpuWatch:
    """Adds up the CPU time that other processes take while something is timed."""

    def __init__(self) -> None:
        self._cpus = cpu_numbers()
        self._other_s = self._watched_s = 0.0

    @contextmanager
    def timing(self, sessions: Iterable[int]) -> Iterator[None]:
        """Watch while the body runs; ``sessions`` are process sessions that count as ours, besides this process."""
        ours = frozenset(sessions)
        before_s, watch = self._others_s(ours), Stopwatch()
        try:
            yield
        finally:
            self._other_s += max(self._others_s(ours) - before_s, 0.0)
            self._watched_s += watch.seconds

    def contention(self) -> Contention | None:
        """The average over all that was watched; None where nothing was."""
        if not self._watched_s:
            return None
        return Contention(self._other_s / self._watched_s, len(self._cpus), self._watched_s)

    def busy(self) -> bool:
        """Whether other processes took enough of the CPUs to spoil the times."""
        found = self.contention()
        return found is not None and found.other_cpus > _BUSY_CPUS

    def _others_s(self, ours: frozenset[int]) -> float:
        """Seconds of work on our CPUs since some moment, less our own."""
        times = psutil.cpu_times(percpu=True)
        all_s = sum(getattr(times[cpu], kind, 0.0) for cpu in self._cpus if cpu < len(times) for kind in _WORKING)
        own = os.times()
        # Workers that have ended are among this process's children; those that live are looked up.
        own_s = own.user + own.system + own.children_user + own.children_system
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # it has just ended
                if os.getsid(process.pid) in ours:
                    own_s += sum(process.cpu_times()[:4])  # user and system, and of the children that have ended
        return float(all_s - own_s)


def timing_warnings(entries: Sequence[Mapping[str, Any]], chosen: str, contention: Contention | None) -> list[str]:
    """Warnings for the top of the report; ``chosen`` is the recommended model, whose speed-up is the headline."""
    found = []
    if contention is not None and contention.other_cpus > _BUSY_CPUS:
        cpus = "one CPU" if contention.cpus == 1 else f"{contention.cpus} CPUs"
        found.append(
            f"The machine was busy: other processes took {contention.other_cpus:.1f} of its {cpus}"
            " while the times were measured. Stop them and measure again before you rely on the times."
        )
    change = of_answers(next(entry["versus_first"] for entry in entries if entry["name"] == chosen))
    if not can_be_stated(change):
        found.append(
            f"The speed-up of {chosen} is too uncertain to be stated: its 95% interval is {speedup(change)}."
            " Measure again on a quiet machine or with more --seconds."
        )
    if chosen != entries[0]["name"] and (alone := change.get("one_thread")):
        found.append(f"With one thread each, which waits for no other, {chosen} is {speedup_words(alone)}.")
    return found


def label_warnings(balance: Mapping[str, Any] | None) -> list[str]:
    """What the labels of the test texts keep the accuracy from saying; ``balance`` is theirs, None without labels."""
    found = []
    if balance is not None and balance["lopsided"]:
        answer = ", ".join(balance["most_frequent"]) or "no label"
        found.append(
            f"{formatting.percent(balance['share'])} of the texts are {answer}: a model that always gives this"
            f" answer would score {formatting.percent(balance['always'])}. Compare the accuracies with that."
        )
    if balance is not None and balance["absent"]:
        found.append(f"The accuracies say nothing of labels that no text has: {some(balance['absent'])}.")
    return found
