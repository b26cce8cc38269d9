"""What a benchmark has measured stays when a later part of it fails, and what was kept before stays until then."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import clusters, coverage, pruning, textbrewer_speed
from compress.errors import CompressError
from compress.machine import describe_machine
from tests.benchmarks.test_textbrewer_speed import turn


def test_an_engine_that_fails_leaves_the_figures_of_the_other_and_joins_them_later(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = ["spark"]

    def measure(engine: str, *_: object) -> dict[str, Any]:
        if engine not in works:
            raise SystemExit(f"{engine} did not start")
        return {"1": {"start_s": 1.0, "all_s": 2.0, "rows_per_s": 3.0, "wrong": 0}}

    monkeypatch.setattr(clusters, "measure", measure)
    monkeypatch.setattr(clusters, "find_spec", lambda _: True)
    out = tmp_path / "clusters.json"

    def run(*given: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["clusters", str(tiny_onnx), "--rows", "5", "--out", str(out), *given])
        clusters.main()
        engines: dict[str, Any] = json.loads(out.read_text())["engines"]
        return engines

    with pytest.raises(SystemExit, match="ray did not start"):
        run()
    assert list(json.loads(out.read_text())["engines"]) == ["spark"]
    works.append("ray")
    assert list(run("--engine", "ray")) == ["spark", "ray"]
    with pytest.raises(CompressError, match="is of another run, with other rows; give another --out"):
        run("--engine", "ray", "--rows", "6")


def test_a_round_that_fails_leaves_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def take_turn(contender: textbrewer_speed.Contender, *_: object) -> textbrewer_speed.Turn:
        done.append(contender.name)
        if len(done) > 2 * len(textbrewer_speed.CONTENDERS):
            raise SystemExit("the process ended")
        return turn(contender.name, 2.0, 9.0)

    monkeypatch.setattr(textbrewer_speed, "take_turn", take_turn)
    monkeypatch.setattr(textbrewer_speed, "python_of", lambda *_: None)
    monkeypatch.setattr(textbrewer_speed, "write_data", lambda *_: None)
    (out := tmp_path / "kept.json").write_text("earlier")
    monkeypatch.setattr(sys, "argv", ["textbrewer_speed", "teacher", "--rounds", "3", "--out", str(out)])
    with pytest.raises(SystemExit, match="the process ended"):
        textbrewer_speed.main()
    assert out.read_text() == "earlier"
    assert len(json.loads((tmp_path / "kept.partial").read_text())["rounds"]) == 2


def test_results_of_before_stay_until_there_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def holds(case: coverage.Case) -> Iterator[bool]:
        if case == coverage.CASES[1]:
            raise KeyboardInterrupt
        yield from [True] * coverage.SETS

    monkeypatch.setattr(coverage, "KEPT", tmp_path / "coverage.jsonl")
    monkeypatch.setattr(coverage, "holds", holds)
    (tmp_path / "coverage.jsonl").write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        coverage.main()
    assert (tmp_path / "coverage.jsonl").read_text() == "earlier"


def test_a_model_that_was_timed_on_this_cpu_keeps_the_time_of_that(tmp_path: Path) -> None:
    machine, other = describe_machine([1]), describe_machine([1]) | {"cpu": "Abacus"}
    first = pruning.kept_result(tmp_path, machine, lambda: {"speedup": 2.0})
    assert first["created"]
    assert pruning.kept_result(tmp_path, machine, lambda: {"speedup": 3.0}) == first
    assert pruning.kept_result(tmp_path, other, lambda: {"speedup": 4.0})["speedup"] == 4.0
