"""The table of small containers in miniature: the process has the quota that its row says."""

from pathlib import Path

import pytest

from benchmarks import container
from compress.machine import describe_machine


def test_half_a_cpu_is_found_by_the_process_in_it(tiny_int8: Path) -> None:
    try:
        with container.group_of(0.5):
            pass
    except SystemExit as reason:
        pytest.skip(str(reason))
    found = container.measure(tiny_int8, ["good", "a dull film"] * 10, rounds=1, cpus=(0.5,))
    row = found["0.5"]
    assert (row["quota_cpus"], row["threads"]) == (0.5, 1)
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    told = container.table({"cpus": found, "machine": describe_machine([1])}).splitlines()
    assert told[2].startswith("| 0.5 | 1 |")
    assert "onnxruntime" in told[-1]
