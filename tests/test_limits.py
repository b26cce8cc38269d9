"""CPUs and memory are the least of what the machine has and what each group of the container grants."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.limits import Limits, cpu_numbers, find_limits

GIB = 2**30
V1_MOUNTS = (
    "31 23 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 23 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "20 1 0:18 / /proc rw,nosuid - proc proc rw\n"
)
V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n"


def system(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Limits:
    """What is found where the system has these files."""
    told = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    for name, content in {**told, **{f"sys/fs/cgroup/{name}": content for name, content in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    return find_limits(root)


def version_2(root: Path, files: dict[str, str], path: str = "/pod/app", mounted: str = "/") -> Limits:
    return system(root, f"0::{path}\n", V2_MOUNT.format(root=mounted), files)


def version_1(root: Path, files: dict[str, str], path: str = "/pod/app", mounted: str = "/") -> Limits:
    groups = f"12:cpu,cpuacct:{path}\n4:memory:{path}\n1:name=systemd:/\n0::/\n"
    return system(root, groups, V1_MOUNTS.format(root=mounted), files)


@pytest.mark.parametrize(
    ("files", "quota", "limit"),
    [
        ({}, None, None),
        ({"pod/app/cpu.max": "max 100000\n", "pod/app/memory.max": "max\n"}, None, None),
        ({"pod/app/cpu.max": "150000 100000\n", "pod/app/memory.max": f"{GIB}\n"}, 1.5, GIB),
        ({"pod/app/cpu.max": "400000 100000\n", "pod/cpu.max": "10000 100000\n"}, 0.1, None),
        ({"pod/app/memory.max": f"{GIB}\n", "pod/memory.max": f"{GIB // 2}\n", "memory.max": "max\n"}, None, GIB // 2),
        ({"pod/app/memory.max": f"{2**60}\n"}, None, None),  # more than any machine has
        ({"other/cpu.max": "10000 100000\n"}, None, None),
    ],
)  # fmt: skip
def test_the_least_on_the_way_to_the_root_counts(
    tmp_path: Path, files: dict[str, str], quota: float | None, limit: int | None
) -> None:
    found = version_2(tmp_path, files)
    assert (found.quota_cpus, found.limit_bytes) == (quota, limit)


def test_version_1_is_read_too(tmp_path: Path) -> None:
    cpu, memory = "cpu,cpuacct/pod/app", "memory/pod"
    files = {f"{cpu}/cpu.cfs_quota_us": "50000\n", f"{cpu}/cpu.cfs_period_us": "100000\n"}
    files |= {f"{memory}/memory.limit_in_bytes": f"{GIB}\n", f"{memory}/app/memory.limit_in_bytes": f"{2**63 - 4096}\n"}
    found = version_1(tmp_path / "limited", files)
    assert (found.quota_cpus, found.limit_bytes, found.memory_bytes, found.cpus) == (0.5, GIB, GIB, 1)
    free = version_1(tmp_path / "free", {f"{cpu}/cpu.cfs_quota_us": "-1\n", f"{cpu}/cpu.cfs_period_us": "100000\n"})
    assert (free.quota_cpus, free.limit_bytes, free.cpus) == (None, None, len(cpu_numbers()))


@pytest.mark.parametrize(("path", "mounted"), [("/", "/"), ("/docker/abc", "/docker/abc"), ("/../../pod", "/")])
def test_a_container_finds_its_own_part_of_the_tree(tmp_path: Path, path: str, mounted: str) -> None:
    assert version_2(tmp_path, {"cpu.max": "50000 100000\n"}, path, mounted).quota_cpus == 0.5


@pytest.mark.parametrize(
    ("affinity", "quota", "cpus"), [(4, None, 4), (4, 0.1, 1), (4, 1.9, 1), (4, 2.0, 2), (4, 2.5, 2), (2, 8.0, 2)]
)
def test_threads_are_whole_cpus_and_at_least_one(affinity: int, quota: float | None, cpus: int) -> None:
    assert Limits(affinity, quota).cpus == cpus


def test_what_is_odd_is_passed_over(tmp_path: Path) -> None:
    odd = "36 23 0:33 / /mnt/\udce9 rw - ext4 /dev/sda rw\n\nodd\n37 23 - cgroup2\n"
    groups, mounts = "odd\n1:odd\n0::/\n", odd + V2_MOUNT.format(root="/")
    files = {"cpu.max": "a b\n", "memory.max": "\udce9\n"}
    found = system(tmp_path / "odd", groups, mounts, files)
    assert (found.quota_cpus, found.limit_bytes) == (None, None)
    assert system(tmp_path / "limited", groups, mounts, {"cpu.max": "100000 0\n", "memory.max": "9\n"}).limit_bytes == 9


def test_a_system_that_tells_nothing_has_no_limits(tmp_path: Path) -> None:
    found = find_limits(tmp_path)
    assert (found.quota_cpus, found.limit_bytes, found.cpus) == (None, None, len(cpu_numbers()))


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of its own, where this machine lets one be made at the root of its tree of CPU quotas."""
    trees = [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")]
    tree = next((tree for tree in trees if (tree / "cgroup.procs").exists()), trees[-1])
    outer = tree / f"compress-test-{os.getpid()}"
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no control groups can be made here ({error.strerror})")
    try:
        yield inner
    finally:
        inner.rmdir()
        outer.rmdir()


def test_a_real_quota_is_found(group: Path) -> None:
    for name, percent in ((group.parent, 150), (group, 250)):
        if (name / "cpu.max").exists():
            (name / "cpu.max").write_text(f"{percent * 1000} 100000")
        elif (name / "cpu.cfs_quota_us").exists():
            (name / "cpu.cfs_quota_us").write_text(f"{percent * 1000}" if name == group.parent else "-1")
        else:
            pytest.skip("this tree of control groups has no CPU quotas")
    program = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "from compress.limits import find_limits; print(find_limits().quota_cpus, find_limits().cpus)"
    )
    command = [sys.executable, "-c", program, str(group / "cgroup.procs")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["1.5", "1"]
