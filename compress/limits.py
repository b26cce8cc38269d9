"""How many CPUs and how much memory this process may use: the least of what the machine has and its container grants.

A container's limits are those of its control groups (cgroups, Linux's manual page cgroups(7)): of every group on the
way from the process's own to the root the least counts, in version 1 as in version 2. What cannot be read is no limit.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_NO_LIMIT = "max"
_CONTROLLERS = ("cpu", "memory", "")  # those that limit what is looked for; version 2 has one tree, without a name


@dataclass(frozen=True, slots=True)
class Limits:
    """What was found.

    Attributes:
        affinity_cpus: the CPUs that the system may run this process on.
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
        """Threads that are worth starting: whole CPUs, at least 1.

        Of 1.5 CPUs that is 1: two threads would use the quota up before the period ends, and then both wait.
        """
        return max(1, min(self.affinity_cpus, int(self.quota_cpus or self.affinity_cpus)))

    @property
    def memory_bytes(self) -> int | None:
        """The least of machine and container; None where neither is known."""
        return self.limit_bytes or self.machine_bytes


def find_limits(root: Path = Path("/")) -> Limits:
    """Those of this process; ``root`` is where the system's files lie."""
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
    """What this process holds in memory now; 0 where Linux's files are not."""
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
    """The folders of this process's groups and of all above them that can be seen from here."""
    own = dict(_own_paths(root))
    for mounted, point, controllers in _mounts(root):
        for path in {own[name] for name in _CONTROLLERS if name in controllers and name in own}:
            inside = PurePosixPath(path)
            # A container sees its own part of the tree, and may still be told where that lies in the whole.
            below = inside.relative_to(mounted) if inside.is_relative_to(mounted) else PurePosixPath()
            group = point if ".." in below.parts else point / below
            yield group
            yield from (above for above in group.parents if above.is_relative_to(point))


def _own_paths(root: Path) -> Iterator[tuple[str, str]]:
    """This process's group for each controller of version 1, and for version 2 by the empty name."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, told = line.partition(":")
        controllers, colon, path = told.partition(":")
        if colon:
            yield from ((name, path) for name in controllers.split(","))


def _mounts(root: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Where trees of groups are mounted: which part of the tree, where, and the names of its controllers."""
    for line in _lines(root / "proc/self/mountinfo"):
        about, _, filesystem = line.partition(" - ")
        kind, _, rest = filesystem.partition(" ")
        _, _, options = rest.partition(" ")
        if kind in ("cgroup", "cgroup2") and len(places := about.split(" ")[3:5]) == 2:
            mounted, point = places
            yield mounted, root / point.lstrip("/"), [""] if kind == "cgroup2" else options.split(",")


def _quota_cpus(group: Path) -> float | None:
    """CPU time in CPUs: of a period, the part in which the group may run."""
    told = _words(group / "cpu.max") or _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
    if len(told) != 2 or told[0] in (_NO_LIMIT, "-1"):
        return None
    with suppress(ValueError, ZeroDivisionError):
        quota_us, period_us = map(int, told)
        return quota_us / period_us
    return None


def _limit_bytes(group: Path) -> int | None:
    told = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
    with suppress(ValueError):
        return None if told in ([], [_NO_LIMIT]) else int(told[0])
    return None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    """The lines of one of the system's files, odd names in them too; none where it is not there or may not be read."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return []
