"""Memory of a loaded model is bounded: it does not grow with the number of texts that were answered."""

from pathlib import Path

import pytest

from benchmarks.resident import growth, in_a_process


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what a process holds")
def test_it_stays_over_thousands_of_texts_of_mixed_length(tiny_onnx: Path) -> None:
    rows = in_a_process(tiny_onnx, "one thread", 3_000)
    assert growth(rows) < 1.1, rows
