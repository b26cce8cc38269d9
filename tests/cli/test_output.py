"""What a step's result looks like as text: with units, and without what is nothing or has no unit of its own."""

import json
from pathlib import Path

import pytest

from compress.cli.output import print_result
from compress.steps.step import StepResult

METRICS = {
    "trained_with": {"freeze_embeddings": False, "temperature": None, "precision": "fp32"},
    "partial": True,
    "ranges": None,
    "ci95": [-0.0387331, 0.0387331],
    "accuracy_delta": 0.0,
    "validation_accuracy_before": 0.948,
    "vocabulary": {"tokens": 9272, "validation_tokens_changed": 0.00894454},
    "kept": 0.603838,
    "bytes": 328_125,
    "parent_bytes": 23_602_255,
    "patterns": {"attention_products": 4},
    "curve": [{"step": 4, "loss": 0.9}],
    "latency_ms": 0.1854,
}


def test_a_result_has_units_and_no_nothings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = StepResult("quantize", tmp_path, 3.0, METRICS)
    print_result(result, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("written:")
    assert [" ".join(line.split()) for line in lines[:-1]] == [
        "trained with: freeze embeddings: no, precision: fp32",
        "partial: yes",
        "ci95: -3.87 points, +3.87 points",
        "accuracy delta: +0.00 points",
        "validation accuracy before: 94.80%",
        "vocabulary: tokens: 9,272, validation tokens changed: 0.89%",
        "kept: 60.38%",
        "bytes: 328 kB",
        "parent bytes: 23.6 MB",
        "latency ms: 0.1854",
    ]
    print_result(result, as_json=True)
    assert json.loads(capsys.readouterr().out)["metrics"] == METRICS
