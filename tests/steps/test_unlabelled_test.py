"""A test split without labels: every step holds the same labelled rows out of the train split, and says so."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.recipes.recipe import Recipe

# What bench does with rows is the same in workers that start as users' do, which tests/benchmark looks at.
pytestmark = pytest.mark.usefixtures("forked_workers")

SAID = "test.jsonl has no labels, so it is left out; a test split is held out from the train rows"


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """The tiny data, but the test texts have no labels."""
    folder = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = "".join(json.dumps({"text": row["text"]}) + "\n" for row in rows)
    (folder / "test.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_finetune_run_and_bench_test_on_the_same_rows(
    data: Path, shallow_encoder: Path, tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"data": str(data)}
    held_out = read_dataset(DataConfig.parse(given)).test
    assert len(held_out) == 24
    assert SAID in capsys.readouterr().err

    quick: dict[str, Any] = {"epochs": 1, "precision": "fp32", "threads": 1, "max_length": 16, "batch_size": 64}
    compress.finetune(shallow_encoder, out=tmp_path / "teacher", **given, **quick)
    assert SAID in capsys.readouterr().err

    report = compress.bench(tiny_onnx, out=tmp_path / "report", seconds=0.1, threads=1, **given)
    assert SAID in capsys.readouterr().err
    (measured,) = report.metrics["models"]
    assert measured["accuracy"]["n"] == 24
    samples = [json.loads(line) for line in (tmp_path / "report" / "samples.jsonl").read_text().splitlines()]
    assert samples

    steps = {"report": {"step": "bench", "models": [str(tiny_onnx)], "seconds": 0.1, "threads": 1}}
    results = compress.run(Recipe.parse({"data": given, "steps": steps}), tmp_path / "run")
    assert SAID in capsys.readouterr().err
    assert read_dataset(DataConfig(data=str(tmp_path / "run" / "data"))).test == held_out
    assert results["report"].metrics["models"][0]["accuracy"] == measured["accuracy"]


def test_a_file_that_is_named_is_left_out_as_well(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = read_dataset(DataConfig(data=str(data))).test
    capsys.readouterr()
    shutil.move(data / "test.jsonl", tmp_path / "test.jsonl")
    assert read_dataset(DataConfig(data=str(data), test=str(tmp_path / "test.jsonl"))).test == held_out
    assert SAID in capsys.readouterr().err


def test_where_nothing_has_labels_bench_measures_speed_alone(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    found = compress.bench(tiny_onnx, data / "test.jsonl", tmp_path / "report", seconds=0.1, threads=1)
    (measured,) = found.metrics["models"]
    assert measured["accuracy"] is None
    assert measured["latency"]
