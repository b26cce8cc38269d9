"""The benchmark of auto beside other ways: what it aims at, how long it trains, and all of it in miniature."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import compress
from benchmarks import auto_beside, auto_beside_aim
from benchmarks.auto_beside import main, planned
from benchmarks.auto_beside_aim import RECIPE_CUT, fewer_layers, pruned
from benchmarks.auto_beside_table import table
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.recipes import recipe
from compress.tuning import ending, judge
from tests.tuning.small import search_little

Cut = dict[str, Any]


def search_of(out: Path, *, layers: int = 6, speed: float = 4.0, search_s: float = 100.0) -> Any:
    """What a search says that was won by a model ``speed`` times as fast as the teacher in int8."""
    context = SimpleNamespace(
        times=SimpleNamespace(int8_ms=speed), shape=SimpleNamespace(widths=SimpleNamespace(heads=(12,) * layers))
    )
    return SimpleNamespace(context=context, won={"latency_ms": 1.0, "search_s": search_s}, out=out)


def test_the_recipe_cuts_as_the_demo_does() -> None:
    demo = yaml.safe_load((Path(recipe.__file__).parent / "demo.yaml").read_text(encoding="utf-8"))
    assert {name: demo["steps"]["pruned"][name] for name in RECIPE_CUT} == RECIPE_CUT


def test_as_many_layers_are_kept_as_are_as_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_beside_aim, "slower", lambda _, cut: cut["layers"] / 2.9)
    assert fewer_layers(search_of(tmp_path)) == {"layers": 3}
    monkeypatch.setattr(auto_beside_aim, "slower", lambda _, cut: 1.5 * cut["layers"])
    assert fewer_layers(search_of(tmp_path)) == {"layers": 1}


def test_the_speed_up_is_raised_until_the_model_is_as_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are read at the same speed by all models, so a graph 4 times as fast does not answer 4 times as fast."""

    def slower(_: object, cut: Cut) -> float:
        if cut["speedup"] > 20:
            raise CompressError("no widths reach that")
        return 0.2 + 4 / float(cut["speedup"])

    monkeypatch.setattr(auto_beside_aim, "slower", slower)
    found = pruned(search_of(tmp_path))
    assert 0.95 <= slower(None, found) <= 1.05
    monkeypatch.setattr(auto_beside_aim, "slower", lambda _, cut: 2 * slower(_, cut))
    nearest = pruned(search_of(tmp_path, speed=12.0))["speedup"]
    assert 12 < nearest <= 20
    with pytest.raises(CompressError):
        pruned(search_of(tmp_path, speed=21.0))


def test_trained_as_long_as_auto_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(_: Any, __: Any, epochs: int, *___: Any) -> tuple[Path, float]:
        made.append(epochs)
        return tmp_path, 20 + 4.0 * epochs

    monkeypatch.setattr(auto_beside, "make", make)
    search = search_of(tmp_path)
    _, epochs = planned(search, "recipe")
    assert make(search, None, epochs)[1] == pytest.approx(100, abs=2)
    before = len(made)
    again: object = planned(search, "recipe")
    assert again == ([["distill", {"layers": 3}], ["prune", RECIPE_CUT]], epochs)
    assert len(made) == before
    monkeypatch.setattr(auto_beside_aim, "slower", lambda *_: 1.0)
    assert planned(search_of(tmp_path, search_s=10.0), "layers")[1] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("timed_here", "forked_workers")
def test_in_miniature(
    tiny_torch: Path,
    few_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A search that one layer of four wins, then all ways beside it."""
    search_little(monkeypatch, {"teacher-int8", "layers-1"}, full_epochs=1)
    monkeypatch.setattr(judge, "_BUDGET_S", 0.2)  # the ways are made as fast as the winner by these times
    monkeypatch.setattr(ending, "_SECONDS", 0.1)
    monkeypatch.setattr(auto_beside, "_MOST_EPOCHS", 2)
    monkeypatch.setattr(auto_beside_aim, "_AIMS_AT_MOST", 1)
    folder, results = tmp_path / "tiny" / "max_drop-100", tmp_path / "kept" / "auto_beside.jsonl"
    compress.auto(tiny_torch, few_data, folder, max_drop=100.0, threads=1)
    given = [str(folder), str(tiny_torch), "--data", str(few_data), "--results", str(results)]
    main(given)
    rows = {row["way"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert set(rows) == {"auto", "recipe", "prune", "layers"}
    assert {row["search"] for row in rows.values()} == {"tiny/max_drop-100"}
    steps = {
        way: [
            step["step"]
            for step in read_manifest(folder.with_name("max_drop-100-beside") / f"{way}-0" / "int8").history
        ]
        for way in ("recipe", "layers")
    }
    end = ["export", "quantize"]
    assert steps == {"recipe": ["finetune", "distill", "prune", *end], "layers": ["finetune", "distill", *end]}
    made = {way: row for way, row in rows.items() if "failed" not in row}
    assert {"auto", "recipe", "layers"} <= set(made)
    assert made["layers"]["how"] == "distill --layers 1"
    assert all(row["minutes"] > 0 and row["test_texts"] == 24 for row in made.values())
    said = capsys.readouterr().out
    assert all(f"| {way} |" in said for way in rows)

    def not_again(*_: Any) -> Any:
        raise AssertionError("it has lines")

    monkeypatch.setattr(auto_beside, "compare", not_again)
    main(given)
    assert capsys.readouterr().out == said


def test_a_way_that_is_refused_is_told_and_not_in_the_means() -> None:
    about = {"search": "mrpc/1", "seed": 0, "how": "", "epochs": 3, "test_loss_ci95": [0.0, 2.0], "answer_ms": 0.2}
    about |= {"speedup": 20.0, "megabytes": 9.0, "minutes": 12.0}
    first = [about | {"way": way, "test_loss": 1.0, "speedup_over_int8": 4.0} for way in ("auto", "prune")]
    broken = [about | {"seed": 1, "way": "auto", "test_loss": 5.0, "speedup_over_int8": 9.0}]
    broken.append({"search": "mrpc/1", "seed": 1, "way": "prune", "failed": "no widths reach it"})
    said = table([*first, *broken])
    assert "failed: no widths reach it" in said
    assert "Mean: auto 1.00 points lost at 4.0x int8; prune 1.00 points lost at 4.0x int8." in said


def test_what_holds_no_winner_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path), "--data", str(tmp_path)])
    assert "holds no search that found a model; give a folder of benchmarks.auto" in capsys.readouterr().err
