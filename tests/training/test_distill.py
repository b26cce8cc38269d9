"""Students of a teacher's layers, and what they learn from it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import compress
from compress.config import DistillConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from compress.training.distill import distill, student_from_layers, teacher_logits
from tests.conftest import FILLERS, WORDS
from tests.tiny import (
    make_bert,
    make_checkpoint,
    make_feeds,
    parts,
    read,
    same_weights,
    torch_logits,
    weights_of,
    write_rows,
)

LABELS = ("negative", "positive")
FAST: dict[str, Any] = {"precision": "fp32", "batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture
def six_layers(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(heads=(4,) * 6, neurons=(128,) * 6), LABELS)


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return read(tiny_data)


@pytest.mark.parametrize(
    ("layers", "kept"),
    [(3, [0, 2, 4]), (2, [0, 3]), (1, [0]), (4, [0, 1, 3, 4]), (None, [0, 2, 4]), ([0, 5], [0, 5]), ([3], [3])],
)
def test_a_student_has_the_chosen_layers_bit_for_bit(six_layers: Checkpoint, layers: Any, kept: list[int]) -> None:
    before = weights_of(six_layers.model)
    student = student_from_layers(six_layers, layers)
    assert len(parts(student.model).bert.encoder.layer) == student.model.config.num_hidden_layers == len(kept)
    for position, index in enumerate(kept):
        layer = parts(six_layers.model).bert.encoder.layer[index]
        assert same_weights(weights_of(parts(student.model).bert.encoder.layer[position]), weights_of(layer))
    rest = {name: weight for name, weight in weights_of(student.model).items() if ".layer." not in name}
    assert same_weights(rest, {name: weight for name, weight in before.items() if ".layer." not in name})
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.zero_()
    assert same_weights(weights_of(six_layers.model), before)  # nothing is shared
    assert six_layers.model.config.num_hidden_layers == 6


def test_a_student_of_all_layers_answers_as_the_teacher(six_layers: Checkpoint) -> None:
    feeds = make_feeds(5, 20, padded=True)
    student = student_from_layers(six_layers, 6)
    assert np.array_equal(torch_logits(student.model, feeds), torch_logits(six_layers.model, feeds))


def test_a_student_of_a_pruned_teacher_keeps_its_layers_widths(tiny_encoder: Path, tmp_path: Path) -> None:
    teacher = make_checkpoint(tiny_encoder, make_bert(heads=(4, 0, 3, 1), neurons=(96, 32, 0, 64)), LABELS)
    student = student_from_layers(teacher, [0, 3])
    assert (student.model.config.heads_per_layer, student.model.config.neurons_per_layer) == ([4, 1], [96, 64])
    assert teacher.model.config.heads_per_layer == [4, 0, 3, 1]
    student.model.save_pretrained(tmp_path)
    again = type(student.model).from_pretrained(tmp_path)
    assert same_weights(weights_of(again), weights_of(student.model))


@pytest.mark.parametrize("layers", [7, [0, 6], [2, 0], [1, 1]])
def test_layers_that_the_teacher_does_not_have_are_refused(six_layers: Checkpoint, layers: Any) -> None:
    with pytest.raises(CompressError, match=r"distill\.layers must be"):
        student_from_layers(six_layers, layers)


def test_teacher_logits_follow_the_students_label_order(six_layers: Checkpoint, data: Dataset) -> None:
    config = DistillConfig.parse({"precision": "fp32", "device": "cpu"})
    teacher = replace(six_layers, model=make_bert(labels=3), labels=("a", "b", "c"))
    own = teacher_logits(teacher, ("a", "b", "c"), data, config)
    assert own == pytest.approx(predict_logits(TorchPredictor(teacher), data.train.texts), abs=1e-5)
    assert np.array_equal(teacher_logits(teacher, ("c", "a", "b"), data, config), own[:, [2, 0, 1]])


def test_soft_labels_alone_bring_the_student_to_agree_with_its_teacher(tiny_torch: Path, data: Dataset) -> None:
    teacher = load_classifier(str(tiny_torch))
    before = weights_of(teacher.model)
    student = student_from_layers(teacher, 2)

    def distance() -> tuple[float, float]:
        logits = [predict_logits(TorchPredictor(model), data.test.texts) for model in (teacher, student)]
        scores = [torch.from_numpy(found).softmax(dim=-1) for found in logits]
        agree = scores[0].argmax(dim=-1) == scores[1].argmax(dim=-1)
        return float(agree.double().mean()), float((scores[0] - scores[1]).abs().mean())

    agreement, apart = distance()
    distill(teacher, student, data, DistillConfig.parse({**FAST, "epochs": 3, "hard_weight": 0.0}))
    assert agreement + 0.1 < distance()[0] > 0.9
    assert distance()[1] < apart / 2
    assert same_weights(weights_of(teacher.model), before)


def test_a_student_may_start_from_an_encoder(
    tiny_torch: Path, tiny_encoder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    result = compress.distill(tiny_torch, tiny_data, tmp_path / "student", student=str(tiny_encoder), epochs=3, **FAST)
    manifest = read_manifest(result.folder)
    assert manifest.labels == LABELS
    assert [entry["step"] for entry in manifest.history] == ["finetune", "distill"]
    assert result.metrics["validation_accuracy"] > 0.85
    assert not same_weights(
        weights_of(load_classifier(str(result.folder)).model), weights_of(load_classifier(str(tiny_torch)).model)
    )


def multi_label_rows(rng: np.random.Generator, rows: int) -> list[dict[str, object]]:
    """``labels`` has "good" and "bad" for each of the two kinds of words that the text has."""
    made: list[dict[str, object]] = []
    for number in range(rows):
        kinds = [kind for bit, kind in enumerate(("negative", "positive")) if number >> bit & 1]
        words = [*rng.choice(FILLERS, 3), *(word for kind in kinds for word in rng.choice(WORDS[kind], 2))]
        rng.shuffle(words)
        made.append(
            {"text": " ".join(words), "labels": [{"negative": "bad", "positive": "good"}[kind] for kind in kinds]}
        )
    return made


def pair_rows(rng: np.random.Generator, rows: int) -> list[dict[str, object]]:
    """The label is the kind of the second text's words; the first text's are of either kind."""
    made: list[dict[str, object]] = []
    for number in range(rows):
        first, second = list(WORDS)[number // 2 % 2], list(WORDS)[number % 2]
        texts = [" ".join([*rng.choice(WORDS[kind], 2), *rng.choice(FILLERS, 2)]) for kind in (first, second)]
        made.append({"sentence1": texts[0], "sentence2": texts[1], "label": second})
    return made


def macro_f1(predicted: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float:
    hits = (predicted & true).sum(axis=0)
    return float(np.mean(2 * hits / (predicted.sum(axis=0) + true.sum(axis=0))))


@pytest.mark.parametrize(("task", "rows"), [("multi_label", multi_label_rows), ("pair_single_label", pair_rows)])
def test_other_tasks_go_through_every_step(
    tiny_encoder: Path, tmp_path: Path, task: str, rows: Callable[[np.random.Generator, int], list[dict[str, object]]]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for seed, (split, count) in enumerate({"train": 400, "validation": 60, "test": 80}.items()):
        write_rows(data / f"{split}.jsonl", rows(np.random.default_rng(seed), count))
    compress.finetune(tiny_encoder, data, tmp_path / "teacher", epochs=5, **FAST)
    compress.distill(tmp_path / "teacher", data, tmp_path / "student", layers=3, epochs=3, **FAST)
    compress.prune(tmp_path / "student", data, tmp_path / "pruned", heads=0.25, ffn=0.25, **FAST)
    compress.quantize(tmp_path / "pruned", data, tmp_path / "int8")
    manifest = read_manifest(tmp_path / "int8")
    assert manifest.task == task
    assert [entry["step"] for entry in manifest.history] == ["finetune", "distill", "prune", "export", "quantize"]

    test = read(data).test
    answers = compress.load(tmp_path / "int8")(test.texts)
    predicted = np.array([[label in answer.labels for label in manifest.labels] for answer in answers])
    true = np.array([[label in row for label in manifest.labels] for row in test.labels])
    assert macro_f1(predicted, true) > 0.85
    if task == "pair_single_label":  # and it is the second text that it reads
        swapped = compress.load(tmp_path / "int8")([(text[1], text[0]) for text in test.texts])
        assert np.mean([one.label != other.label for one, other in zip(answers, swapped, strict=True)]) > 0.3
