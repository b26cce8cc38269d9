"""auto, from the goals to what it leaves: on a tiny BERT, with few of the candidates and short trainings."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import yaml

import compress
from compress.benchmark import interleave
from compress.benchmark.measure import bench
from compress.cli.main import main
from compress.decisions import cascade as joining
from compress.decisions.hand_on import HandOn
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.latency import deployment, table
from compress.runtime.cascade import Cascade
from compress.runtime.predictor import NotFiniteError
from compress.training.validator import DIVERGENCE
from compress.tuning import auto, ending
from compress.tuning.cascades import Pair
from compress.tuning.context import SearchContext
from compress.tuning.goals import Goals
from compress.tuning.judge import evaluate_try
from compress.tuning.teacher import check_better_than_a_constant
from compress.tuning.tries import Try
from compress.workers import process
from tests.processes import ForkedWorker
from tests.tiny import TimerHere
from tests.tuning.small import search_little
from tests.undrawn import leave_charts_out

GRAPH = "onnx/model_quantized.onnx"
TRIED = {"teacher-int8", "cut-2x"}
GOALS: dict[str, Any] = {"max_drop": 50.0, "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Two candidates, two epochs at most, no cascades, and times that need not be exact."""
    with pytest.MonkeyPatch.context() as patch:
        search_little(patch, TRIED, full_epochs=2)
        leave_charts_out(patch)
        patch.setattr(process, "_start", ForkedWorker)
        patch.setattr(deployment, "GraphTimer", TimerHere)
        patch.setattr(table, "_ROUNDS", 2)
        patch.setattr(table, "_TURN_S", 0.005)
        patch.setattr(table, "_PROCESSES", 1)
        patch.setattr(interleave, "_SLOWEST_TURN_S", 0.01)
        patch.setattr(interleave, "_FASTEST_TURN_S", 0.005)
        patch.setattr(ending, "_PARTIAL_SECONDS", 0.02)
        yield


@pytest.fixture(scope="module")
def stopped(tiny_torch: Path, few_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that Ctrl-C ended at its third try."""
    seen: list[Any] = []

    def stop_at_the_third(*given: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(given)
        return evaluate_try(*given)

    out = tmp_path_factory.mktemp("auto") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "evaluate_try", stop_at_the_third)
        given = ["auto", str(tiny_torch), "--data", str(few_data), "--out", str(out), "--max-drop", "50"]
        assert main([*given, "--threads", "1", "--quiet"]) == 130
    return out


@pytest.fixture(scope="module")
def found(stopped: Path, tiny_torch: Path, few_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search, gone on with and finished."""
    out = tmp_path_factory.mktemp("auto") / "out"
    shutil.copytree(stopped, out)
    result = compress.auto(tiny_torch, few_data, out, **GOALS)
    assert result.metrics["held_back_texts"] == 12
    assert "goal_met_on_held_back" not in result.metrics
    return out


def tries_of(out: Path) -> list[dict[str, Any]]:
    tries: list[dict[str, Any]] = json.loads((out / "search.json").read_text())["tries"]
    return tries


def test_everything_is_left_and_loads(found: Path) -> None:
    tries = tries_of(found)
    assert {each["candidate"] for each in tries} >= TRIED
    assert not any(each["failed"] for each in tries)
    with compress.load(found / "best") as classifier:
        assert classifier(["a good film"])[0].label in ("negative", "positive")
    front = sorted((found / "front").iterdir())
    assert front
    for folder in front:
        with compress.load(folder) as classifier:
            assert classifier.logits(["a good film"]).shape == (1, 2)
    manifest = read_manifest(found / "best")
    assert [entry["step"] for entry in manifest.history][-2:] == ["quantize", "auto"]
    card = (found / "best" / "README.md").read_text()
    assert "## How it was found" in card
    assert "on 12 validation texts kept out of the search" in card
    page = (found / "report" / "index.html").read_text()
    assert "The search" in page
    assert all(each["candidate"] in page for each in tries)


def test_each_training_chooses_its_weights_by_itself(found: Path) -> None:
    trained = [
        entry
        for folder in (found / "tries").glob("cut-2x*")
        for entry in json.loads((folder / "compress.json").read_text())["history"]
        if entry["step"] == "prune" and not entry["config"]["vocabulary"]  # which trains nothing
    ]
    assert trained
    assert {entry["metrics"]["judged_by"] for entry in trained} == {DIVERGENCE}


def test_the_recipe_makes_the_same_model_again(found: Path, tmp_path: Path) -> None:
    assert main(["run", str(found / "recipe.yaml"), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    for name in (GRAPH, "config.json", "tokenizer.json"):
        assert (tmp_path / "again" / "best" / name).read_bytes() == (found / "best" / name).read_bytes(), name
    steps = yaml.safe_load((found / "recipe.yaml").read_text())["steps"]
    assert list(steps)[-1] == "best"


def test_a_cascade_is_a_try_as_any_other_with_a_recipe_and_one_that_is_refused_is_told(
    found: Path,
    tiny_torch: Path,
    few_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two that pay by their times, which here are given: of models this small no time says which is faster."""
    given_ms = cycle([[1.0, 2.0], [2.0, 1.5]])

    def evaluate_fast(context: SearchContext, folder: Path, about: Try) -> Try:
        return replace(evaluate_try(context, folder, about), ms=1e-3 if about.is_cascade else 1.0)

    def two_pairs(tries: list[Try], goals: Goals, texts: int) -> list[Pair]:
        assert (goals.max_drop, texts) == (GOALS["max_drop"], 12)  # those to choose by
        small, large = (
            max((t for t in tries if t.candidate == name), key=lambda t: t.epochs) for name in sorted(TRIED)
        )
        return [Pair(small, large, 0.5), Pair(small, large, 25.0)]

    monkeypatch.setattr(joining, "_answer_ms", lambda *_: next(given_ms))
    monkeypatch.setattr(joining, "choose_hand_on", lambda *_: HandOn(0.9, 0.2, 0.95, 30, 0.5, 0.0, 0.1))
    monkeypatch.setattr(auto, "evaluate_try", evaluate_fast)
    monkeypatch.setattr("compress.tuning.auto.pairs", two_pairs)
    shutil.copytree(found, out := tmp_path / "out")
    result = compress.auto(tiny_torch, few_data, out, **GOALS)
    assert "-within-0.5: left out: too few texts to show that it keeps to 0.5 points\n" in capsys.readouterr().err
    assert result.metrics["model"].endswith("-then-teacher-int8-within-25")
    assert result.metrics["megabytes"] == tries_of(out)[-1]["megabytes"] > max(t["megabytes"] for t in tries_of(found))
    assert result.metrics["model"] in (out / "report" / "index.html").read_text()
    stages = json.loads((out / "report" / "results.json").read_text())["search"]["stages"]
    assert (stages[-1]["stage"], stages[-1]["tries"]) == ("cascades", 2)
    assert main(["run", str(out / "recipe.yaml"), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    whole, again = (read_manifest(folder / "best") for folder in (out, tmp_path / "again"))
    assert whole.decision == again.decision
    for name in (f"small/{GRAPH}", f"large/{GRAPH}"):
        assert (tmp_path / "again" / "best" / name).read_bytes() == (out / "best" / name).read_bytes(), name
    for folder in (out / "best", out / "front" / result.metrics["model"]):
        with compress.load(folder, threads=1) as classifier:
            assert isinstance(classifier, Cascade)
            assert classifier(["a good film"])[0].label in ("negative", "positive")


def test_a_winner_that_fails_on_a_held_back_text_is_written_with_a_warning(
    found: Path, tiny_torch: Path, few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise NotFiniteError.of_text("texts[2]", 2)

    monkeypatch.setattr(ending, "load", broken)
    shutil.copytree(found, out := tmp_path / "out")
    result = compress.auto(tiny_torch, few_data, out, **GOALS)
    assert result.metrics["goal_met_on_held_back"] is False
    card = (out / "best" / "README.md").read_text()
    assert "held-back text 3: the model answers with NaN or infinity" in card
    assert "it does not answer every held-back text, so no interval can be promised" in card
    assert "held-back text 3" in (out / "report" / "report.md").read_text()


def test_ctrl_c_leaves_the_best_so_far_and_the_same_command_goes_on(stopped: Path, found: Path) -> None:
    before, after = tries_of(stopped), tries_of(found)
    assert len(before) == 2
    assert after[:2] == before
    assert len({(each["candidate"], each["epochs"]) for each in after}) == len(after)
    assert "Partial" in (stopped / "report" / "report.md").read_text()
    assert "before it was interrupted" in (stopped / "best" / "README.md").read_text()
    assert "interrupted" not in (found / "best" / "README.md").read_text()


def test_other_goals_use_what_was_tried_and_what_none_meets_is_told(
    found: Path,
    tiny_torch: Path,
    few_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reported: list[Path] = []

    def record_bench(models: Sequence[Path], *given: Any) -> Any:
        assert all(model.is_dir() for model in models)
        reported.extend(models)
        return bench(models[:1], *given)

    monkeypatch.setattr(ending, "_MOST_MEASURED", 6)
    monkeypatch.setattr(ending, "bench", record_bench)
    out = tmp_path / "out"
    shutil.copytree(found, out)
    before = tries_of(out)
    given = ["auto", str(tiny_torch), "--data", str(few_data), "--out", str(out), "--speedup", "1e6"]
    assert main([*given, "--max-drop", "50", "--threads", "1"]) == 2
    said = capsys.readouterr().err
    last = said.strip().split("\n")[-1]
    assert "No model meets the goals: the fastest within 50 points is " in last
    assert last.endswith("has the models; to get one, allow more points or more milliseconds")
    assert tries_of(out)[: len(before)] == before
    assert not (out / "best").exists()
    assert not (out / "recipe.yaml").exists()
    assert any((out / "front").iterdir())
    assert json.loads((out / "report" / "results.json").read_text())["search"]["chosen"] == ""
    assert reported[0] == tiny_torch
    assert set(reported[1:]) == set((out / "front").iterdir())


def test_what_was_deleted_of_a_search_is_made_again(
    found: Path, tiny_torch: Path, few_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(found, out := tmp_path / "out")
    shutil.rmtree(out / "tries")
    result = compress.auto(tiny_torch, few_data, out, **GOALS)
    assert {each["candidate"] for each in tries_of(out)} >= TRIED
    assert all((out / "tries" / result.metrics["model"] / name).is_file() for name in (GRAPH, "config.json"))
    assert result.metrics["search_s"] > sum(each["seconds"] for each in tries_of(out))  # the first ones took time too
    assert any((out / "front").iterdir())


def test_what_cannot_begin(found: Path, tiny_torch: Path, few_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(CompressError, match="exists and is not the folder of a search"):
        compress.auto(tiny_torch, few_data, tmp_path / "mine", max_drop=1, overwrite=True)
    with pytest.raises(CompressError, match="is too short for one candidate; give"):
        compress.auto(tiny_torch, few_data, tmp_path / "new" / "short", max_drop=1, hours=1e-6, threads=1)
    assert not (tmp_path / "new").exists()
    with pytest.raises(CompressError, match=r"of a search that differs in seed, threads; choose another"):
        compress.auto(tiny_torch, few_data, found, max_drop=1, seed=1, threads=2)
    with pytest.raises(CompressError, match="no better than that of always answering"):
        check_better_than_a_constant("teacher", "macro_f1", 0.5, 0.5, "positive")


def test_what_is_refused_forgets_nothing(found: Path, tiny_torch: Path, few_data: Path, tmp_path: Path) -> None:
    """Nor changes a byte of the search."""
    before = {path: path.read_bytes() for path in found.rglob("*") if path.is_file()}
    with pytest.raises(CompressError, match="nowhere"):
        compress.auto(tiny_torch, tmp_path / "nowhere", found, **GOALS, overwrite=True)
    for overwrite in (False, True):
        with pytest.raises(CompressError, match="is too short for one candidate"):
            compress.auto(tiny_torch, few_data, found, **GOALS, hours=1e-6, overwrite=overwrite)
    assert {path: path.read_bytes() for path in found.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_the_demo_searches_from_its_own_teacher(
    tiny_encoder: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "demo.yaml"
    teacher = {"step": "finetune", "model": str(tiny_encoder), "epochs": 3, "learning_rate": 1e-3, "threads": 1}
    steps = {"teacher": teacher, "student": {"step": "distill", "teacher": "teacher", "layers": 1}}
    recipe.write_text(yaml.safe_dump({"data": str(tiny_data), "steps": steps}, sort_keys=False))
    monkeypatch.setattr("compress.cli.main.DEMO_RECIPE", recipe)
    assert main(["demo", "--out", str(tmp_path / "out"), "--auto", "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"data", "teacher", "auto"}
    assert not (tmp_path / "out" / "student").exists()
    with compress.load(tmp_path / "out" / "auto" / "best") as classifier:
        assert classifier(["a good film"])[0].label in ("negative", "positive")
