"""The comparison with TextBrewer compares like with like; TextBrewer itself is not needed here."""

import copy
from pathlib import Path

import pytest

from benchmarks.textbrewer_speed import LAYERS, Turn, summarise, write_data
from benchmarks.textbrewer_worker import keep_layers, read_split
from compress.config import DistillConfig
from compress.distillation.students import make_student
from tests.tiny import make_bert, make_checkpoint, make_feeds, same_weights, torch_logits, weights_of


def turn(name: str, epoch_s: float, run_s: float) -> Turn:
    return Turn(name, 1.0, run_s, epoch_s, None, 100 / epoch_s, 0.9)


def test_both_toolkits_get_the_same_student(tiny_encoder: Path) -> None:
    teacher = make_checkpoint(tiny_encoder, make_bert(heads=(4,) * 6, neurons=(128,) * 6), ("0", "1"))
    ours = make_student(teacher, DistillConfig(layers=LAYERS)).model.eval()
    theirs = copy.deepcopy(teacher.model)
    keep_layers(theirs, LAYERS)
    assert same_weights(weights_of(ours), weights_of(theirs))
    feeds = make_feeds(3, 12)
    assert (torch_logits(ours, feeds) == torch_logits(theirs, feeds)).all()


def test_ratios_are_within_a_round() -> None:
    rounds = [
        [turn("TextBrewer", 8.0, 30.0), turn("compress", 2.0, 10.0)],
        [turn("TextBrewer", 16.0, 60.0), turn("compress", 4.0, 20.0)],  # the machine was half as fast for both
    ]
    first, ours = summarise(rounds)
    assert first["training_ratios"] == first["run_ratios"] == [1.0, 1.0]
    assert ours["training_ratios"] == [4.0, 4.0]
    assert ours["run_ratios"] == [3.0, 3.0]
    assert ours["texts_per_s"] == pytest.approx((50 + 25) / 2)


def test_texts_are_phrases_of_sst2_with_their_own_labels(shared_data: Path, tmp_path: Path) -> None:
    write_data(shared_data / "sst2", 1000, tmp_path)
    texts, labels = read_split(str(tmp_path / "all"), "train")
    held_out, _ = read_split(str(tmp_path / "all"), "validation")
    assert (len(texts), len(held_out), set(labels)) == (1000, 500, {0, 1})
    rows = (shared_data / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()
    assert f"{texts[0]}\t{labels[0]}" in rows
    assert read_split(str(tmp_path / "warm-up"), "train")[0] == texts[:256]
