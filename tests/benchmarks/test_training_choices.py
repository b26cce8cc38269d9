"""The comparison of changes to fine-tuning: its objectives, its other start, and that what is unchanged is finetune."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from benchmarks import training_choices
from benchmarks.training_choices import CHANGES, begin_at_labels, divergence, main, smoothed
from compress.families.view import EncoderView
from compress.modeling.checkpoint import load_for_finetuning
from compress.training.finetune import encode
from compress.training.loop import train
from tests.tiny import read


@pytest.mark.parametrize("several", [False, True])
def test_two_passes_that_agree_diverge_by_nothing(several: bool) -> None:
    one, other = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    assert divergence(one, one, several=several).item() == 0
    assert divergence(one, other, several=several).item() > 0
    assert torch.equal(divergence(one, other, several=several), divergence(other, one, several=several))


@pytest.mark.parametrize("targets", [torch.tensor([1]), torch.tensor([[0.0, 1.0]])], ids=["single", "multi"])
def test_smoothed_labels_punish_certainty(targets: torch.Tensor) -> None:
    sure, certain = torch.tensor([[-3.0, 3.0]]), torch.tensor([[-30.0, 30.0]])
    assert smoothed(certain, targets, 0.0) < smoothed(sure, targets, 0.0)
    assert smoothed(certain, targets, 0.1) > smoothed(sure, targets, 0.1)


def test_a_head_that_begins_at_the_labels_means_answers_most_texts_rightly(tiny_encoder: Path, tiny_data: Path) -> None:
    data = read(tiny_data)
    start = load_for_finetuning(str(tiny_encoder), data.task, data.labels, 0)
    texts = encode(start, data.train)
    begin_at_labels(start, texts)
    batch = texts.batch(list(range(len(texts))), "cpu")
    with torch.no_grad():
        logits = start.model(**EncoderView(start.model).inputs(batch)).logits
    assert logits.std().item() == pytest.approx(1.0, abs=0.05)
    assert (logits.argmax(dim=1) == batch["targets"]).float().mean() > 0.7


def test_as_it_is_is_finetune_and_each_change_is_another_training(
    tiny_encoder: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 32}
    monkeypatch.setitem(training_choices.SETS, "sst2", settings)
    (tmp_path / "sst2").symlink_to(tiny_data)
    results = tmp_path / "rows.jsonl"
    arguments = ["--sets", "sst2", "--seeds", "1", "--device", "cpu", "--data", str(tmp_path)]
    arguments += ["--model", str(tiny_encoder), "--results", str(results)]
    losses: list[float] = []

    def kept(*arguments: object) -> object:
        found = train(*arguments)  # type: ignore[arg-type]
        losses.append(found.curve[-1]["loss"])
        return found

    monkeypatch.setattr(training_choices, "train", kept)
    assert main(arguments) == 0
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert [row["change"] for row in rows] == list(CHANGES)
    same = settings | {"device": "cpu", "precision": "fp32", "max_length": 128, "threads": 1}
    own = compress.finetune(tiny_encoder, tiny_data, tmp_path / "own", **same).metrics
    assert losses[0] == pytest.approx(own["curve"][-1]["loss"], rel=1e-5)
    assert rows[0]["last"] == own["curve"][-1]["accuracy"]
    assert len({round(loss, 6) for loss in losses}) == len(CHANGES)


@pytest.mark.parametrize(("flag", "known"), [("--sets", "sst2"), ("--changes", "R-Drop 1")])
def test_what_is_not_known_is_refused(flag: str, known: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([flag, "other"])
    assert known in capsys.readouterr().err
