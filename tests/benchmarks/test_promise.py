"""The benchmark of auto's promise in miniature: what its sets are drawn from, and a winner from end to end."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import promise
from benchmarks.promise import SETS, Set, divided, table, texts_of, whole_sentences
from compress.data.split import kindred
from compress.tuning import planner
from tests.tiny import write_rows
from tests.tuning.small import search_little

ROW: dict[str, Any] = {
    "set": "sst2",
    "draw": 0,
    "goal": {"speedup": 8.0},
    "validation_texts": 300,
    "model": "layers-2-1-epochs",
    "tries": 9,
    "loss_when_picked": 3.0,
    "promised_loss": 4.0,
    "promised_on_test": [1.0, 7.0],
    "test_loss": 5.0,
    "test_loss_ci95": [3.0, 7.0],
    "speedup_over_int8": 2.0,
}


@pytest.fixture
def small(
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    forked_workers: None,  # noqa: ARG001
    timed_here: None,  # noqa: ARG001
) -> None:
    """A set of the tiny data, two candidates trained for an epoch, and times that need not be exact."""
    monkeypatch.setattr(promise, "ENCODER", str(tiny_encoder))
    monkeypatch.setattr(promise, "SETS", {"tiny": Set(160, {"epochs": 3, "learning_rate": 3e-3, "batch_size": 8})})
    monkeypatch.setattr(promise, "SIZES", (40, 60))
    monkeypatch.setattr(promise, "GOALS", ({"max_drop": 90.0},))
    monkeypatch.setattr(promise, "_TEACHERS_OWN", 20)
    monkeypatch.setattr(planner, "_CUTS_AT_MOST", 0.0)
    search_little(monkeypatch, {"teacher-int8", "layers-1"}, full_epochs=1)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_winner_is_found_once_and_kept_with_what_was_promised(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny").symlink_to(tiny_data)
    given = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--hours", "1"]
    given += ["--results", str(tmp_path / "kept" / "promise.jsonl")]
    given += ["--draws", "1"]
    assert promise.main(given) == 0, capsys.readouterr().err
    kept = (tmp_path / "kept" / "promise.jsonl").read_text()
    (row,) = map(json.loads, kept.splitlines())
    assert (row["set"], row["draw"], row["validation_texts"], row["held_back_texts"]) == ("tiny", 0, 40, 20)
    assert row["machine"]["threads"] == [1]
    said = capsys.readouterr()
    assert "of 1 winners" in said.out
    assert "1 of 1 done; about 0 s left" in said.err
    assert promise.main(given) == 0
    assert (tmp_path / "kept" / "promise.jsonl").read_text() == kept


def test_no_draw_shares_texts_with_what_the_teacher_saw(tiny_data: Path) -> None:
    whole = texts_of(Set(64, {}), tiny_data)
    drawn = [divided(whole, 64, draw) for draw in range(3)]
    assert len({tuple(for_teacher.train.texts) for for_teacher, _ in drawn}) == 1
    assert len({tuple(for_search.validation.texts) for _, for_search in drawn}) == 3
    for for_teacher, for_search in drawn:
        assert for_search.train == for_teacher.train
        groups = kindred(for_teacher.train.texts + for_teacher.validation.texts + for_search.validation.texts)
        seen = len(for_teacher.train) + len(for_teacher.validation)
        assert not set(groups[:seen]) & set(groups[seen:])


def test_whole_sentences_stand_for_their_phrases() -> None:
    texts = ["a story of love and loss", "the film is a story of love and loss", "not a single good joke in it"]
    assert whole_sentences(texts) == [1, 2]


def test_texts_of_one_chosen_label_are_drawn(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"{word} {number}", "labels": labels}
        for number, (word, labels) in enumerate(
            [("thanks", ["gratitude"]), ("dear", ["love"]), ("both", ["love", "gratitude"]), ("no", ["anger"])] * 8
        )
    ]
    write_rows(tmp_path / "train.jsonl", rows[:24])
    write_rows(tmp_path / "test.jsonl", rows[24:])
    found = texts_of(Set(8, {}, labels=("love", "gratitude")), tmp_path)
    assert (found.task, found.labels) == ("single_label", ("gratitude", "love"))
    for split in (found.train, found.test):
        assert {text.split()[0] for text in split.texts if isinstance(text, str)} == {"thanks", "dear"}
    assert (len(found.train), len(found.test)) == (12, 4)


def test_the_real_sets_have_the_labels_that_are_named(shared_data: Path) -> None:
    for name in ("banking77", "goemotions"):
        found = texts_of(SETS[name], shared_data / name)
        assert {labels[0] for labels in found.train.labels} == set(SETS[name].labels) == set(found.labels)
        assert len(found.train) > 2_000
        assert len(found.test) > 450


def test_the_table_counts_what_held_and_shows_what_failed() -> None:
    rows = [
        ROW,
        ROW | {"draw": 1, "test_loss": 8.0},
        ROW | {"draw": 2, "promised_on_test": None, "promised_loss": None},
    ]
    said = table([*rows, {"set": "mrpc", "draw": 0, "failed": "no model meets the goals"}])
    assert (
        "| sst2 | 300 | 8x as fast | layers-2-1-epochs | 9 | 3.0 | 1.0 to 7.0 | 5.0 (3.0 to 7.0) | 2.0x | yes |" in said
    )
    assert "The promise held for 1 of 2 winners." in said
    assert "was +3.50 points from that of the texts that a winner was picked by, and +2.50 from" in said
    assert "| mrpc |  |  | failed: no model meets the goals |" in said
