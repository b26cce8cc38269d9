"""The load test in miniature: it counts what is right, and sees what is wrong."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import serving
from tests.tiny import read

Measured = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Measured:
    """The command, in this process but for the service; its status and what it prints."""

    def run(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["serving", *map(str, arguments), "--bulk-seconds", "0.1"])
        capsys.readouterr()
        status = serving.main()
        return status, json.loads(capsys.readouterr().out)

    return run


def test_all_answers_are_found_right(measured: Measured, tiny_int8: Path, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(map(str, read(tiny_data).train.texts)), encoding="utf-8")
    status, found = measured(tiny_int8, tmp_path / "texts.txt", "--requests", "100", "--texts-each", "3")
    assert (status, found["wrong"], found["missing"]) == (0, 0, 0)
    assert found["half"]["statuses"] == {"200": 100}
    assert 0 < found["half"]["p50_ms"] <= found["half"]["p99_ms"] <= found["half"]["max_ms"]
    assert found["capacity_texts_per_s"] > 0 < found["bulk_texts_per_s"]


def test_wrong_answers_are_seen(measured: Measured, tiny_int8: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a good film\na dull mess", encoding="utf-8")
    status, found = measured(tiny_int8, tmp_path / "texts.txt", "--requests", "20", "--reference", tiny_onnx)
    assert status == 1
    assert found["half"]["wrong"] == 20
