"""The comparison of choices for students in miniature: every student once."""

import json
from pathlib import Path

import pytest

import compress
from benchmarks import student_choices


def test_a_student_is_trained_once_and_told(
    tiny_torch: Path,
    few_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ways = {"little": {"epochs": 1, "batch_size": 16}, "more": {"epochs": 2, "batch_size": 16}}
    monkeypatch.setattr(student_choices, "WAYS", ways)
    monkeypatch.setattr(student_choices, "MODELS", {"1 layer": (compress.distill, {"layers": 1})})
    run, kept = tmp_path / "small", tmp_path / "kept.jsonl"
    run.mkdir()
    (run / "teacher").symlink_to(tiny_torch)
    (run / "data").symlink_to(few_data)
    given = [str(run), "--seeds", "1", "--results", str(kept)]
    assert student_choices.main(given) == 0, capsys.readouterr().err
    rows = list(map(json.loads, kept.read_text().splitlines()))
    assert [(row["set"], row["model"], row["way"]) for row in rows] == [
        ("small", "1 layer", "little"),
        ("small", "1 layer", "more"),
    ]
    assert rows[1]["steps"] == 2 * rows[0]["steps"]
    assert capsys.readouterr().out.splitlines()[0] == "| data | model | seeds | little | more |"
    assert student_choices.main(given) == 0
    assert len(kept.read_text().splitlines()) == 2


def test_a_cell_is_the_mean_over_seeds_in_points_with_the_divergence() -> None:
    way = next(iter(student_choices.WAYS))
    row = {"set": "one", "model": "3 layers", "way": way, "validation": 0.9, "divergence": 0.1, "seed": 0}
    *_, line = student_choices.table([row, row | {"validation": 0.92, "divergence": 0.3, "seed": 1}]).splitlines()
    assert line == "| one | 3 layers | 2 | 91.0 ± 1.4, 0.200 |"


def test_a_folder_without_a_teacher_is_refused_and_nothing_is_kept(
    few_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, kept = tmp_path / "run", tmp_path / "kept.jsonl"
    run.mkdir()
    (run / "data").symlink_to(few_data)
    with pytest.raises(SystemExit):
        student_choices.main([str(run), "--results", str(kept)])
    assert f"{run / 'teacher'}: no such folder; give others" in capsys.readouterr().err
    assert not kept.exists()
