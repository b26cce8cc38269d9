"""The comparison of distill's choices in miniature: every student once, judged beside its teacher."""

import json
from pathlib import Path

import pytest

from benchmarks import distill_choices
from compress.folder import read_manifest


def test_a_student_is_trained_once_and_told_beside_its_teacher(
    tiny_torch: Path,
    few_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ways = {"little": {"epochs": 1, "batch_size": 16}, "more": {"epochs": 2, "batch_size": 16}}
    monkeypatch.setattr(distill_choices, "WAYS", ways)
    run, kept = tmp_path / "small", tmp_path / "kept.jsonl"
    run.mkdir()
    (run / "teacher").symlink_to(tiny_torch)
    (run / "data").symlink_to(few_data)
    given = [str(run), "--layers", "1", "--seeds", "1", "--results", str(kept)]
    assert distill_choices.main(given) == 0, capsys.readouterr().err
    rows = list(map(json.loads, kept.read_text().splitlines()))
    assert [(row["set"], row["layers"], row["way"], row["steps"]) for row in rows] == [
        ("small", 1, "little", 4),
        ("small", 1, "more", 8),
    ]
    assert {row["teacher"] for row in rows} == {read_manifest(tiny_torch).history[-1]["metrics"]["validation_accuracy"]}
    assert capsys.readouterr().out.splitlines()[0] == "| data | layers | seeds | little | more |"
    assert distill_choices.main(given) == 0
    assert len(kept.read_text().splitlines()) == 2


def test_a_cell_is_the_mean_over_seeds_in_points_with_the_divergence() -> None:
    way = next(iter(distill_choices.WAYS))
    row = {"set": "one", "layers": 3, "way": way, "validation": 0.9, "divergence": 0.1, "seed": 0}
    *_, line = distill_choices.table([row, row | {"validation": 0.92, "divergence": 0.3, "seed": 1}]).splitlines()
    assert line == "| one | 3 | 2 | 91.0 ± 1.4, 0.200 |"
