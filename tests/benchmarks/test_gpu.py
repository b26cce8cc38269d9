"""The GPU's command, in miniature on a CPU: every branch that needs no CUDA."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import parts as all_parts
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.runner import run_parts
from benchmarks.gpu.setting import Setting, miniature
from benchmarks.gpu.table import goals, table

Document = dict[str, Any]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Every quick part of the miniature, in this process."""
    setting = miniature(tmp_path_factory.mktemp("gpu"))
    torch.set_num_threads(1)
    document: Document = {"parts": {}}
    for part in PARTS:
        if part.name.split()[0].strip(",") not in ("prune", "distill", "bench"):
            rows: list[dict[str, Any]] = []
            part(setting, rows.append, 30.0)
            document["parts"][part.name] = {"status": "done", "rows": json.loads(json.dumps(rows))}
    document["setting"] = setting
    return document


def test_no_row_of_a_quick_part_failed(measured: Document) -> None:
    for name, part in measured["parts"].items():
        assert part["rows"], name
        assert [row for row in part["rows"] if "reason" in row] == [], name
