"""The load test in miniature: it counts what is right, and sees what is wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tiny import read


def measured(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.serving", *map(str, arguments), "--bulk-seconds", "0.1"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stdout, finished.stderr
    return finished.returncode, json.loads(finished.stdout)


def test_all_answers_are_found_right(tiny_int8: Path, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(map(str, read(tiny_data).train.texts)), encoding="utf-8")
    status, found = measured(tiny_int8, tmp_path / "texts.txt", "--requests", "300", "--texts-each", "3")
    assert (status, found["wrong"], found["missing"]) == (0, 0, 0)
    assert found["half"]["statuses"] == {"200": 300}
    assert 0 < found["half"]["p50_ms"] <= found["half"]["p99_ms"] <= found["half"]["max_ms"]
    assert found["capacity_texts_per_s"] > 0 < found["bulk_texts_per_s"]


def test_wrong_answers_are_seen(tiny_int8: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a good film\na dull mess", encoding="utf-8")
    status, found = measured(tiny_int8, tmp_path / "texts.txt", "--requests", "20", "--reference", tiny_onnx)
    assert status == 1
    assert found["half"]["wrong"] == 20
