"""Where fine-tuning begins."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from compress.data import Split
from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.training.batches import Examples
from compress.training.finetune import encode, encode_to_train
from tests.tiny import make_bert, make_checkpoint, parts, write_rows

STILL: dict[str, Any] = {"learning_rate": 1e-12, "epochs": 1, "precision": "fp32", "weight_decay": 0.0}


@pytest.fixture
def rare_labels(tmp_path: Path) -> Path:
    """80 texts: one label is on a tenth of them, another on half."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, texts in {"train": 80, "validation": 20, "test": 20}.items():
        rows: list[dict[str, object]] = [
            {
                "text": f"{split} text number {number}",
                "label": ["rare"] * (number % 10 == 0) + ["common"] * (number % 2),
            }
            for number in range(texts)
        ]
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


def test_a_length_that_the_model_cannot_read_is_refused(
    shallow_encoder: Path, rare_labels: Path, tmp_path: Path
) -> None:
    with pytest.raises(CompressError, match=r"^finetune.max_length must be at most 128, .* got 129$"):
        compress.finetune(shallow_encoder, rare_labels, tmp_path / "out", max_length=129, **STILL)
    assert not (tmp_path / "out").exists()
    compress.finetune(shallow_encoder, rare_labels, tmp_path / "out", max_length=128, **STILL)
    assert load_classifier(str(tmp_path / "out")).max_length == 128


def bias_of(folder: Path) -> dict[str, float]:
    model = load_classifier(str(folder))
    return dict(zip(model.labels, parts(model.model).classifier.bias.tolist(), strict=True))


def test_a_fresh_multi_label_head_begins_with_the_labels_shares(
    shallow_encoder: Path, rare_labels: Path, tmp_path: Path
) -> None:
    compress.finetune(shallow_encoder, rare_labels, tmp_path / "out", **STILL)
    shares = {name: float(torch.tensor(bias).sigmoid()) for name, bias in bias_of(tmp_path / "out").items()}
    assert shares == pytest.approx({"rare": 9 / 82, "common": 41 / 82}, abs=1e-5)


def test_so_does_the_fresh_head_of_a_student(
    shallow_encoder: Path, rare_labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    compress.finetune(shallow_encoder, rare_labels, tmp_path / "teacher", **{**STILL, "learning_rate": 1e-2})
    bare: dict[str, Any] = {"student": str(shallow_encoder), **STILL}
    compress.distill(tmp_path / "teacher", rare_labels, tmp_path / "student", **bare)
    shares = {name: float(torch.tensor(bias).sigmoid()) for name, bias in bias_of(tmp_path / "student").items()}
    assert shares == pytest.approx({"rare": 9 / 82, "common": 41 / 82}, abs=1e-5)


def test_where_labels_are_weighed_it_begins_with_what_their_weights_make_of_the_shares(
    shallow_encoder: Path, rare_labels: Path, tmp_path: Path
) -> None:
    compress.finetune(shallow_encoder, rare_labels, tmp_path / "out", class_weights="balanced", **STILL)
    assert bias_of(tmp_path / "out") == pytest.approx({"rare": 0.0, "common": 0.0}, abs=0.15)


def test_a_head_that_was_trained_keeps_its_bias(shallow_encoder: Path, rare_labels: Path, tmp_path: Path) -> None:
    compress.finetune(shallow_encoder, rare_labels, tmp_path / "first", **{**STILL, "learning_rate": 1e-2})
    compress.finetune(tmp_path / "first", rare_labels, tmp_path / "second", **STILL)
    assert bias_of(tmp_path / "second") == pytest.approx(bias_of(tmp_path / "first"), abs=1e-6)
    assert bias_of(tmp_path / "first")["rare"] != pytest.approx(float(torch.logit(torch.tensor(9 / 82))), abs=1e-3)


@pytest.mark.parametrize("prepare", [encode, encode_to_train])
def test_of_pairs_both_texts_are_read_and_of_several_labels_each_is_a_target(
    prepare: Callable[[Checkpoint, Split], Examples], tiny_encoder: Path
) -> None:
    pairs = [("a good film", "bad"), ("the", "a very dull story"), ("", "fun")]
    bert = make_bert((4,), (128,), labels=3)
    model = make_checkpoint(tiny_encoder, bert, ("a", "b", "c"), task="pair_multi_label")
    examples = prepare(model, Split([*pairs], [("c", "a"), (), ("b",)]))
    expected = [(one.ids, one.type_ids) for one in model.encoder(pairs)]
    assert [(one.ids, one.type_ids) for one in examples.encodings] == expected
    batch = examples.batch([0, 1, 2])
    for row, (_, second) in enumerate(pairs):
        (alone,) = model.encoder([second])
        assert batch["input_ids"][row][batch["token_type_ids"][row] == 1].tolist() == alone.ids[1:]
    assert batch["targets"].dtype == torch.float32
    assert batch["targets"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    one_label = prepare(replace(model, task="pair_single_label"), Split([*pairs], [("c",), ("a",), ("b",)]))
    assert one_label.batch([0, 1, 2])["targets"].tolist() == [2, 0, 1]
