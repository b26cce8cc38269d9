"""The benchmark of auto in miniature: a line for each search, kept, and not made twice."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import compress
from benchmarks import auto as benchmark
from compress.errors import CompressError

LINE = {
    "set": "mrpc",
    "max_drop": 1.0,
    "hours": None,
    "seed": 0,
    "model": "cut-2x-20-epochs",
    "minutes": 12.0,
    "promised_on_test": [-1.0, 1.5],
    "test_loss": 0.5,
    "test_loss_ci95": [-0.5, 1.4],
    "speedup": 20.0,
    "speedup_over_int8": 4.0,
    "megabytes": 9.0,
}


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with one for each data set, which no search here reads."""
    for name in ("mrpc", "sst2"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    return tmp_path / "sets"


def test_each_search_is_done_once_and_kept(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[Any] = []

    def search(asked: dict[str, Any], _: Namespace) -> dict[str, Any]:
        done.append((asked["set"], asked["max_drop"]))
        return LINE | asked | {"test_loss": 2.0 * asked["max_drop"]}

    monkeypatch.setattr(benchmark, "search", search)
    results = tmp_path / "kept" / "auto.jsonl"
    given = ["--data", str(sets), "--results", str(results)]
    benchmark.main(["--sets", "mrpc", "--drops", "1", *given])
    benchmark.main(["--sets", "mrpc", "sst2", "--drops", "1,0.3", *given])
    assert done == [("mrpc", 1.0), ("mrpc", 0.3), ("sst2", 1.0), ("sst2", 0.3)]
    assert len([json.loads(line) for line in results.read_text().splitlines()]) == 4
    said = capsys.readouterr().out
    assert "The promise held for 2 of 4 winners." in said
    assert "Mean at --max-drop 0.3: 0.60 points lost, 20.0x PyTorch, 4.0x int8." in said


def test_a_winner_that_is_a_cascade_is_compared_by_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its median is its small model's, which answers most texts."""
    found = {"model": "joined", "tries": 3, "search_s": 60.0, "estimated_s": 60.0, "int8_ms": 8.0, "int8_mean_ms": 9.0}
    times = {"answer_average": "mean", "answer_p50_ms": 1.0, "answer_mean_ms": 3.0}
    change = {"accuracy_delta": 0.0, "ci95": [0.0, 0.0], "speedup_answer": 4.0}
    best = {"name": "best", "size_bytes": 1e6, "versus_first": change, **times}
    itself = {"name": "teacher-int8", "answer_average": "mean", "answer_p50_ms": 5.0, "answer_mean_ms": 6.0}
    about = {"search": {"tries": [{"name": "joined", "loss": 0.1}]}, "test_texts": 9, "busy": None}
    about |= {"machine": {}, "created": "2020-01-01"}
    monkeypatch.setattr(compress, "auto", lambda *_, **__: Namespace(metrics=found))
    (tmp_path / "report").mkdir()
    for models, speedup in (([best, itself], 6.0 / 3.0), ([best], 9.0 / 3.0)):
        (tmp_path / "report" / "results.json").write_text(json.dumps(about | {"models": models}))
        assert benchmark.figures(tmp_path, tmp_path, tmp_path)["speedup_over_int8"] == speedup


def test_a_search_that_fails_is_told_and_tried_again(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    works = False

    def search(asked: dict[str, Any], _: Namespace) -> dict[str, Any]:
        if not works:
            raise CompressError("no model meets the goals")
        return LINE | asked

    monkeypatch.setattr(benchmark, "search", search)
    given = ["--sets", "mrpc", "--drops", "1", "--data", str(sets), "--results", str(tmp_path / "auto.jsonl")]
    assert benchmark.main(given) == 1
    said = capsys.readouterr().out
    assert "| mrpc | 1 | as needed | 0 | failed: no model meets the goals |" in said
    assert "held for 0 of 0 winners" in said
    works = True
    assert benchmark.main(given) == 0
    assert "failed" not in capsys.readouterr().out


def test_a_set_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["--sets", "imdb"])
    said = capsys.readouterr().err
    assert all(f"'{name}'" in said for name in ("imdb", "sst2", "banking77", "mrpc", "goemotions"))
