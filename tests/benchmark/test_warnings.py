"""Whether others kept the machine busy, and other reasons to doubt the figures."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress.benchmark.contention import Contention, CpuWatch
from compress.benchmark.warnings import timing_warnings


def test_what_is_not_ours_is_another_processs_work() -> None:
    """The same process, counted as ours and not: the difference is its CPU time, however busy the machine is."""
    command = [sys.executable, "-c", "while True: pass"]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        time.sleep(0.1)
        ours, others = CpuWatch(), CpuWatch()
        before_s = cpu_s(child.pid)
        with others.timing([], 1), ours.timing([child.pid], 1):
            time.sleep(0.5)
        used_s = cpu_s(child.pid) - before_s
    finally:
        child.kill()
        child.wait()
    found, without = others.contention(), ours.contention()
    assert found is not None
    assert without is not None
    assert found.cpus == len(os.sched_getaffinity(0))
    both_s = found.other_cpus * found.seconds - without.other_cpus * without.seconds
    assert both_s == pytest.approx(used_s, abs=0.1)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_anything_watched_nothing_is_claimed() -> None:
    assert CpuWatch().contention() is None


def entry(name: str, interval: tuple[float, float] | None) -> dict[str, object]:
    return {"name": name, "versus_first": {"speedup_p50": 3.0, "speedup_ci95": interval}}


def test_a_busy_machine_and_a_vague_headline_are_named() -> None:
    sure, vague = ([entry("a", None), entry("b", interval)] for interval in ((2.9, 3.1), (2.0, 4.0)))
    assert timing_warnings(sure, "b", Contention(0.05, 2, 1, 10.0)) == []
    (busy,) = timing_warnings(sure, "b", Contention(0.8, 2, 1, 10.0))
    assert "0.8 of its 2 CPUs" in busy
    assert timing_warnings(sure, "b", Contention(0.8, 64, 2, 10.0)) == []  # most of its cores are free
    (full,) = timing_warnings(sure, "b", Contention(40.0, 64, 4, 10.0))
    assert "40.0 of its 64 CPUs" in full
    (wide,) = timing_warnings(vague, "b", None)
    assert "2.0\N{MULTIPLICATION SIGN} to 4.0\N{MULTIPLICATION SIGN}" in wide
    assert timing_warnings(vague, "a", None) == []  # the reference has no speed-up
