"""Checkpoints that others made: their labels, their label order, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

import compress
from compress.errors import CompressError
from compress.evaluation.metrics import score
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier, load_for_finetuning, save_tokenizer
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from compress.steps.step import check_labels
from tests.tiny import make_bert, make_checkpoint, parts, read, same_weights, weights_of

PlainFolder = Callable[..., Path]


def test_labels_of_a_plain_checkpoint_come_from_its_config(tmp_path: Path, plain_folder: PlainFolder) -> None:
    model = make_bert(labels=3)
    checkpoint = load_classifier(str(plain_folder(tmp_path / "plain", model, ("zebra", "ant", "bee"))))
    assert checkpoint.labels == ("zebra", "ant", "bee")
    assert (checkpoint.task, checkpoint.max_length, checkpoint.digest) == ("single_label", 128, None)
    assert same_weights(weights_of(checkpoint.model), weights_of(model))


def test_a_model_of_many_labels_that_nobody_named_fits_rows_of_0_and_1(
    tmp_path: Path, plain_folder: PlainFolder
) -> None:
    model = make_bert(labels=3)
    model.config.problem_type = "multi_label_classification"
    folder = str(plain_folder(tmp_path / "plain", model, None))
    rows = [{"text": f"film {row}", "labels": [row % 2, row % 3 == 0, row % 5 == 0]} for row in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = read(tmp_path / "rows.jsonl")
    check_labels(load_classifier(folder), dataset, folder)
    for labels in (dataset.labels, ("0", "1", "2")):  # the latter where each text has a list of numbers
        kept = load_for_finetuning(folder, dataset.task, labels, seed=0)
        assert same_weights(weights_of(kept.model), weights_of(model))
        assert kept.labels == labels


def test_the_datas_task_makes_a_plain_checkpoint_a_pair_classifier(tmp_path: Path, plain_folder: PlainFolder) -> None:
    folder = str(plain_folder(tmp_path / "plain", make_bert(), ("no", "yes")))
    assert load_classifier(folder, pairs=True).task == "pair_single_label"
    assert load_classifier(folder).task == "single_label"


def test_a_fresh_head_depends_on_the_seed_alone_and_the_body_is_the_encoders(tiny_encoder: Path) -> None:
    one, again, other = (
        load_for_finetuning(str(tiny_encoder), "single_label", ("a", "b", "c"), seed) for seed in (1, 1, 2)
    )
    assert same_weights(weights_of(one.model), weights_of(again.model))
    assert not torch.equal(parts(one.model).classifier.weight, parts(other.model).classifier.weight)
    assert parts(one.model).classifier.weight.shape == (3, 64)
    body = weights_of(BertModel.from_pretrained(tiny_encoder))
    assert same_weights(weights_of(parts(one.model).bert), body)


def test_a_head_is_kept_where_its_labels_are_the_datas_and_replaced_where_not(tiny_torch: Path) -> None:
    trained = load_classifier(str(tiny_torch))
    kept = load_for_finetuning(str(tiny_torch), trained.task, trained.labels[::-1], seed=0)
    assert kept.labels == trained.labels
    assert same_weights(weights_of(kept.model), weights_of(trained.model))
    new = load_for_finetuning(str(tiny_torch), trained.task, ("x", "y", "z"), seed=0)
    assert new.labels == ("x", "y", "z")
    assert parts(new.model).classifier.out_features == new.model.config.num_labels == 3
    assert same_weights(weights_of(parts(new.model).bert), weights_of(parts(trained.model).bert))


@pytest.mark.parametrize("kind", ["gpt2", "albert"])
def test_families_that_are_not_known_are_refused_by_a_line_that_names_those_that_are(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(
        CompressError, match=f"is a {kind} model; compress works on BERT .*, DistilBERT .model_type distilbert"
    ):
        load_classifier(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "no such thing"}', "{}"])
def test_a_damaged_config_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CompressError) as caught:
        load_classifier(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_or_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, reason in {"file": "is a file", "folder": "not a model folder", "none": "no such folder"}.items():
        with pytest.raises(CompressError, match=f"{name}: {reason}"):
            load_classifier(str(tmp_path / name))


def test_torn_weights_are_one_line(tmp_path: Path, plain_folder: PlainFolder) -> None:
    folder = plain_folder(tmp_path / "plain", make_bert(), ("no", "yes"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CompressError, match="cannot be loaded"):
        load_classifier(str(folder))


def test_the_label_order_of_a_checkpoint_changes_no_answer(
    shallow_encoder: Path, tiny_data: Path, tmp_path: Path, plain_folder: PlainFolder
) -> None:
    """The same head, its rows in either order, trained on: the same curve, and the same answers by name."""
    test = read(tiny_data).test
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(shallow_encoder)
    curves, answers = [], []
    for labels in (("negative", "positive"), ("positive", "negative")):
        name = labels[0]
        plain_folder(tmp_path / f"plain-{name}", model, labels)
        out = tmp_path / name
        result = compress.finetune(
            tmp_path / f"plain-{name}", tiny_data, out, batch_size=16, learning_rate=2e-3, precision="fp32", threads=1
        )
        assert read_manifest(out).labels == labels
        curves.append([point["accuracy"] for point in result.metrics["curve"]])
        compress.export(out, tmp_path / f"onnx-{name}")
        answers.append([prediction.label for prediction in compress.load(tmp_path / f"onnx-{name}")(test.texts)])
        checkpoint = load_classifier(str(out))
        logits = predict_logits(TorchPredictor(checkpoint), test.texts)
        by_score = score("accuracy", logits, test.targets(checkpoint.labels, checkpoint.task))
        assert by_score == np.mean([(answer,) == truth for answer, truth in zip(answers[-1], test.labels, strict=True)])
        with torch.no_grad():  # the other order next
            model.classifier.weight.copy_(model.classifier.weight.flip(0).clone())
            model.classifier.bias.copy_(model.classifier.bias.flip(0).clone())
    assert curves[0] == pytest.approx(curves[1], abs=0.1)
    assert answers[0] == answers[1]
    assert np.mean([(answer,) == truth for answer, truth in zip(answers[0], test.labels, strict=True)]) > 0.85


def test_a_lone_label_is_there_or_not(tmp_path: Path, plain_folder: PlainFolder) -> None:
    """Rerankers have one output; a softmax over it would be 1 for every text."""
    folder = plain_folder(tmp_path / "plain", make_bert(labels=1), None)
    compress.export(folder, tmp_path / "onnx", threads=1)
    with compress.load(tmp_path / "onnx", threads=1) as classifier:
        logits = classifier.logits(["good film", "a bad one"])[:, 0]
        answers = classifier(["good film", "a bad one"])
    assert [answer.score for answer in answers] == pytest.approx((1 / (1 + np.exp(-logits))).tolist(), abs=1e-6)
    assert [bool(answer.labels) for answer in answers] == (logits >= 0).tolist()


def test_a_tokenizers_settings_are_named_so_that_transformers_4_reads_them_too(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tiny_encoder, make_bert(), ("x", "y"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=checkpoint.tokenizer.backend_tokenizer, unk_token="[UNK]")
    tokenizer.add_special_tokens({"additional_special_tokens": ["[E1]"]})
    save_tokenizer(replace(checkpoint, tokenizer=tokenizer), tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["additional_special_tokens"] == ["[E1]"]
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "extra_special_tokens" not in settings
    assert "[E1]" in AutoTokenizer.from_pretrained(tmp_path).all_special_tokens
