"""How many CPUs and how much memory this process may use: the machine's, or less where its container grants less.

A container's limits are those of its control groups (cgroups, Linux's manual page cgroups(7)): the least limit of all
groups from the process's own to the root counts, in versions 1 and 2. What cannot be read is no limit.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_NO_LIMIT = "max"
_CONTROLLERS = {"cpu", "memory", ""}  # controllers whose files are read; version 2 has one tree, named ""


class Limits(NamedTuple):
    """The limits of a process.

    Attributes:
        affinity_cpus: number of CPUs that the system may run the process on.
        quota_cpus: CPU time that the container grants, in CPUs: 0.5 is half the time of one; None without a quota.
        machine_bytes: the machine's memory; None where the system does not tell it.
        limit_bytes: the memory that the container grants; None where that is no less than the machine's.
    """

    affinity_cpus: int
    quota_cpus: float | None = None
    machine_bytes: int | None = None
    limit_bytes: int | None = None

    @property
    def cpus(self) -> int:
        """Number of threads worth starting: whole CPUs, at least 1.

        For 1.5 CPUs it is 1: two threads would use the quota up before the period ends, and then both wait.
        """
        return max(1, min(self.affinity_cpus, int(self.quota_cpus or self.affinity_cpus)))

    @property
    def memory_bytes(self) -> int | None:
        """The memory that the process may use; None where it is unknown."""
        return self.limit_bytes or self.machine_bytes


def find_limits(root: Path = Path("/")) -> Limits:
    """The limits of this process; ``root`` is the root of the system's files."""
    machine_bytes = _machine_bytes()
    groups = list(_groups(root))
    quotas = [quota for group in groups if (quota := _quota_cpus(group)) is not None]
    limits = [limit for group in groups if (limit := _limit_bytes(group)) is not None]
    limit_bytes = min(limits, default=None)
    if limit_bytes is not None and machine_bytes is not None and limit_bytes >= machine_bytes:
        limit_bytes = None
    return Limits(len(cpu_numbers()), min(quotas, default=None), machine_bytes, limit_bytes)


def cpu_numbers() -> list[int]:
    """The CPUs that this process may run on, as the system counts them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def resident_bytes() -> int:
    """The resident memory of this process, in bytes; 0 where it cannot be read (not on Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _machine_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of all groups above them that are visible here."""
    own = dict(_own_paths(root))
    for mounted, point, controllers in _mounts(root):
        for path in {own[name] for name in controllers if name in own}:
            inside = PurePosixPath(path)
            # A container sees its own part of the tree, but the path may be that in the whole tree.
            below = inside.relative_to(mounted) if inside.is_relative_to(mounted) else PurePosixPath()
            group = point if ".." in below.parts else point / below
            yield group
            yield from (above for above in group.parents if above.is_relative_to(point))


def _own_paths(root: Path) -> Iterator[tuple[str, str]]:
    """This process's group for each controller of version 1, and for version 2 by the empty name."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon:
            yield from ((name, path) for name in controllers.split(","))


def _mounts(root: Path) -> Iterator[tuple[str, Path, set[str]]]:
    """Where trees of groups are mounted: which part of the tree, where, and the names of its controllers."""
    for line in _lines(root / "proc/self/mountinfo"):
        about, _, filesystem = line.partition(" - ")
        kind, _, rest = filesystem.partition(" ")
        _, _, options = rest.partition(" ")
        if kind in ("cgroup", "cgroup2") and len(places := about.split(" ")[3:5]) == 2:
            mounted, point = places
            controllers = {""} if kind == "cgroup2" else _CONTROLLERS.intersection(options.split(","))
            yield mounted, root / point.lstrip("/"), controllers


def _quota_cpus(group: Path) -> float | None:
    """The CPU time that a group may use, in CPUs: its quota in a period, over the period."""
    words = _words(group / "cpu.max") or _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
    if len(words) != 2 or words[0] in (_NO_LIMIT, "-1"):
        return None
    with suppress(ValueError, ZeroDivisionError):
        quota_us, period_us = map(int, words)
        return quota_us / period_us
    return None


def _limit_bytes(group: Path) -> int | None:
    words = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
    with suppress(ValueError):
        return None if words in ([], [_NO_LIMIT]) else int(words[0])
    return None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    """The lines of a system file, whatever bytes are in names; none where it is missing or may not be read."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return []
