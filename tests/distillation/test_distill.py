"""Students of a teacher's layers, and what they learn from it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import compress
from compress.config import DistillConfig
from compress.data import Dataset, Split
from compress.distillation.distill import distill
from compress.distillation.losses import soft_labels
from compress.distillation.students import make_student
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.states import Batch, States
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from compress.training.run_files import RunFiles
from compress.training.validator import TrainingResult
from tests.conftest import FILLERS, WORDS
from tests.damage import largest_file
from tests.tiny import (
    parts,
    read,
    same_weights,
    weights_of,
    write_first_layers,
    write_rows,
)

LABELS = ("negative", "positive")
FAST: dict[str, Any] = {"precision": "fp32", "batch_size": 16, "learning_rate": 2e-3}
# Where it does not matter how much is learned.
SHORT: dict[str, Any] = FAST | {"batch_size": 32, "learning_rate": 1e-3, "epochs": 1}


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return read(tiny_data)


@pytest.fixture(scope="module")
def some_data(few_data: Path) -> Dataset:
    return read(few_data)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def learn(teacher: Checkpoint, student: Checkpoint, data: Dataset, folder: Path, **settings: Any) -> TrainingResult:
    config = DistillConfig.parse({**FAST, "device": "cpu", **settings})
    return distill([teacher], student, data, config, RunFiles(folder, folder / ".unfinished", "inputs"))


def student_of(teacher: Checkpoint, **settings: Any) -> Checkpoint:
    return make_student(teacher, DistillConfig.parse(settings))


def test_soft_labels_alone_bring_the_student_to_agree_with_its_teacher_on_each_label_by_name(
    tiny_torch: Path, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student has the labels in another order. The teacher's weights are hashed once, and stay as they are."""
    teacher = load_classifier(str(tiny_torch))
    student = replace(student_of(teacher, layers=1), labels=LABELS[::-1])
    head = parts(student.model).classifier
    with torch.no_grad():
        head.weight.copy_(head.weight.flip(0))
        head.bias.copy_(head.bias.flip(0))
    before, weights, reads = weights_of(teacher.model), teacher.model.state_dict, []

    def counted() -> dict[str, Any]:
        reads.append(1)
        return weights()

    def distance() -> tuple[float, float]:
        theirs, own = (predict_logits(TorchPredictor(model), data.test.texts) for model in (teacher, student))
        scores = [torch.from_numpy(found).softmax(dim=-1) for found in (theirs, own[:, ::-1].copy())]
        agree = scores[0].argmax(dim=-1) == scores[1].argmax(dim=-1)
        return float(agree.double().mean()), float((scores[0] - scores[1]).abs().mean())

    agreement, apart = distance()
    monkeypatch.setattr(teacher.model, "state_dict", counted)
    learn(teacher, student, data, tmp_path, epochs=4, eval_steps=15, hard_weight=0.0)
    assert len(reads) == 1
    assert student.labels == LABELS[::-1]
    assert agreement + 0.1 < distance()[0] >= 0.85  # a few of 60 texts are close calls for the teacher too
    assert distance()[1] < apart / 2
    assert same_weights(weights_of(teacher.model), before)


def test_a_teachers_own_table_stays_and_another_is_trained(
    tiny_torch: Path, some_data: Dataset, tmp_path: Path
) -> None:
    teacher = load_classifier(str(tiny_torch))

    def moved(changed: bool, **settings: Any) -> bool:
        student = student_of(teacher, layers=1)
        table = parts(student.model).bert.embeddings.word_embeddings.weight
        if changed:
            table.data.mul_(1.01)
        before = table.detach().clone()
        (tmp_path / f"{changed}{settings}").mkdir()
        learn(teacher, student, some_data, tmp_path / f"{changed}{settings}", epochs=1, **settings)
        return not torch.equal(table, before)

    assert not moved(changed=False)
    assert moved(changed=True)
    assert moved(changed=False, freeze_embeddings=False)
    assert not moved(changed=True, freeze_embeddings=True)


def test_unlabeled_texts_and_altered_ones_are_labelled_by_the_teacher_and_help(
    tiny_torch: Path, data: Dataset, tmp_path: Path
) -> None:
    """Few labels, and those wrong: what the student learns, it learns from the texts that only the teacher labels."""
    few = replace(data, train=Split(data.train.texts[:12], data.train.labels[:12]))
    unlabeled = tmp_path / "more.txt"
    unlabeled.write_text("\n".join(map(str, data.train.texts[12:])) + "\n", encoding="utf-8")
    teacher = load_classifier(str(tiny_torch))

    def steps_and_agreement(epochs: int = 4, **settings: Any) -> tuple[int, float]:
        student = student_of(teacher, layers=1)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        small: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-3}
        training = learn(teacher, student, few, folder, epochs=epochs, patience=100, **small, **settings)
        answers = [
            predict_logits(TorchPredictor(model), data.test.texts).argmax(axis=1) for model in (teacher, student)
        ]
        return training.steps, float(np.mean(answers[0] == answers[1]))

    alone, more = steps_and_agreement(), steps_and_agreement(unlabeled=str(unlabeled))
    assert more[0] > 10 * alone[0]
    assert more[1] > max(0.9, alone[1])
    assert 4 * steps_and_agreement(epochs=1, augment=10)[0] > 5 * alone[0]


def nearer_to_the_teachers_end(student: States, teacher: States, batch: Batch) -> torch.Tensor:
    assert batch["input_ids"].shape == student["hidden.1"].shape[:2]
    return (student["hidden.1"] - teacher["hidden.3"]).square().mean()


nearer_to_the_teachers_end.wanted = ("hidden.1",)  # type: ignore[attr-defined]
nearer_to_the_teachers_end.teacher_wanted = ("hidden.3",)  # type: ignore[attr-defined]


@pytest.mark.parametrize("cache_gb", [4.0, 0.0])  # states from disk, and from the teacher beside the student
def test_a_loss_of_the_users_own_is_minimised_and_told(
    tiny_torch: Path, some_data: Dataset, tmp_path: Path, cache_gb: float
) -> None:
    teacher = load_classifier(str(tiny_torch))
    own = f"{__name__}.{nearer_to_the_teachers_end.__name__}"
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 8, "loss": own, "loss_weight": 10.0, "cache_gb": cache_gb}
    learn(teacher, student_of(teacher, layers=2), some_data, tmp_path, **settings)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    told = [record["custom"] for record in records if "custom" in record]
    assert told[-1] < told[0] / 2
    assert {"loss", "soft", "hard", "custom", "learning_rate", "step"} == set(records[0])


class Mapped(nn.Module):
    """A loss with a weight to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, student: States, teacher: States, _: Batch) -> torch.Tensor:
        return (self.scale * student["logits"].detach() - teacher["logits"]).square().mean()


def test_a_loss_may_be_a_module_with_weights_and_its_name_is_kept(
    tiny_torch: Path, few_data: Path, tmp_path: Path
) -> None:
    loss = Mapped()
    settings = {**FAST, "layers": 1, "epochs": 1, "learning_rate": 0.05}
    result = compress.distill(tiny_torch, few_data, tmp_path / "student", loss=loss, **settings)
    assert loss.scale.item() < 4.9
    told = read_manifest(result.folder).history[-1]["config"]["loss"]
    assert told.startswith(f"{__name__}.Mapped (")


def test_a_student_reads_no_more_than_its_teacher_can(
    tiny_torch: Path, few_data: Path, shallow_encoder: Path, tmp_path: Path
) -> None:
    compress.finetune(shallow_encoder, few_data, tmp_path / "short", max_length=8, **SHORT)
    compress.prune(tiny_torch, few_data, tmp_path / "pruned", teacher=str(tmp_path / "short"), heads=0.25, **SHORT)
    assert read_manifest(tmp_path / "pruned").max_length == 8


def test_states_from_disk_and_from_the_teacher_beside_teach_the_same(
    tiny_torch: Path, few_data: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        **SHORT,
        "epochs": 2,
        "layers": 2,
        "hidden_weight": 1.0,
        "relation_weight": 1.0,
        "attention_weight": 0.1,
    }
    losses = []
    for name, cache_gb in (("kept", 4.0), ("beside", 0.0)):
        result = compress.distill(tiny_torch, few_data, tmp_path / name, cache_gb=cache_gb, **settings)
        losses.append([point["loss"] for point in result.metrics["curve"]])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert "answers each batch as it comes" in capsys.readouterr().err
    assert any(cache.rglob("*"))


def test_the_student_that_is_kept_is_the_one_nearest_its_teacher_unless_a_metric_is_named(
    tiny_torch: Path, tiny_data: Path, tmp_path: Path
) -> None:
    settings = {**SHORT, "layers": 1, "eval_steps": 2, "patience": 100}
    metrics = compress.distill(tiny_torch, tiny_data, tmp_path / "nearest", **settings).metrics
    curve = metrics["curve"]
    assert metrics["judged_by"] == "divergence"
    (best,) = (point for point in curve if point["step"] == metrics["best_step"])
    assert best["divergence"] == min(point["divergence"] for point in curve)
    assert metrics["validation_accuracy"] == best["accuracy"]
    texts = read(tiny_data).validation.texts
    student, teacher = (
        torch.from_numpy(predict_logits(TorchPredictor(load_classifier(str(model))), texts))
        for model in (tmp_path / "nearest", tiny_torch)
    )
    assert float(soft_labels(student, teacher, 2.0, multi_label=False)) == pytest.approx(best["divergence"], rel=1e-3)
    named = compress.distill(tiny_torch, tiny_data, tmp_path / "named", metric="accuracy", **settings).metrics
    assert named["judged_by"] == "accuracy"
    assert [point["accuracy"] for point in named["curve"]] == [point["accuracy"] for point in curve]
    assert named["validation_accuracy"] == max(point["accuracy"] for point in curve)
    hard: dict[str, Any] = {**SHORT, "layers": 1, "soft_weight": 0.0}
    assert compress.distill(tiny_torch, tiny_data, tmp_path / "hard", **hard).metrics["judged_by"] == "accuracy"


def test_a_student_of_another_width_learns_from_hidden_states_through_a_map(
    tiny_torch: Path, tiny_data: Path, tmp_path: Path
) -> None:
    result = compress.distill(
        tiny_torch, tiny_data, tmp_path / "student", layers=1, hidden_size=32, heads=2, ffn_size=64, epochs=6,
        eval_steps=15, hidden_weight=1.0, embedding_weight=1.0, **FAST,
    )  # fmt: skip
    assert result.metrics["validation_accuracy"] > 0.75
    student = load_classifier(str(result.folder))
    assert student.model.config.hidden_size == 32
    assert student.parameters < 0.4 * load_classifier(str(tiny_torch)).parameters


def test_a_student_may_start_from_an_encoder(
    tiny_torch: Path, shallow_encoder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    settings = {**FAST, "batch_size": 8, "learning_rate": 1e-3, "epochs": 3, "eval_steps": 30}
    result = compress.distill(tiny_torch, tiny_data, tmp_path / "student", student=str(shallow_encoder), **settings)
    manifest = read_manifest(result.folder)
    assert manifest.labels == LABELS
    assert [entry["step"] for entry in manifest.history] == ["finetune", "distill"]
    assert result.metrics["validation_accuracy"] > 0.75
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


# Each time: tests/families/test_tasks.py has the steps, tests/training/test_finetune.py what is read.
@pytest.mark.slow
@pytest.mark.parametrize(("task", "rows"), [("multi_label", multi_label_rows), ("pair_single_label", pair_rows)])
def test_other_tasks_go_through_every_step(
    tiny_encoder: Path,
    tmp_path: Path,
    task: str,
    rows: Callable[[np.random.Generator, int], list[dict[str, object]]],
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for seed, (split, count) in enumerate({"train": 400, "validation": 60, "test": 80}.items()):
        write_rows(data / f"{split}.jsonl", rows(np.random.default_rng(seed), count))
    larger = FAST | {"batch_size": 16, "learning_rate": 2e-3, "threads": 1}
    encoder = write_first_layers(tiny_encoder, 2, tmp_path / "encoder")
    compress.finetune(encoder, data, tmp_path / "teacher", epochs=5, **larger)
    compress.distill(tmp_path / "teacher", data, tmp_path / "student", layers=1, epochs=2, **larger)
    compress.prune(tmp_path / "student", data, tmp_path / "pruned", heads=0.25, ffn=0.25, epochs=1, **larger)
    compress.quantize(tmp_path / "pruned", data, tmp_path / "int8", threads=1)
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


def test_more_texts_than_the_disk_holds_are_said_in_one_line_and_leave_nothing(
    tiny_torch: Path, few_data: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("a good film and a bad one\n" * 20_000, encoding="utf-8")
    with largest_file(200_000), pytest.raises(CompressError, match=r"^--out .*: cannot be written \(File too large\)"):
        compress.distill(tiny_torch, few_data, tmp_path / "out", layers=1, unlabeled=str(more), **SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["more.txt"]
