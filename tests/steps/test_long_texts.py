"""Long texts by every step: what finetune chose is served, measured and kept by all that is made of its model."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress
from compress.benchmark.model_server import ModelServer, answer_of
from compress.benchmark.rows import Row, open_row
from compress.config import DistillConfig
from compress.data import Dataset
from compress.distillation.corpus import Corpus
from compress.distillation.distill import Teacher, divergence_from
from compress.distillation.teacher_cache.cache import teacher_digest
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, load_classifier, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.pruning.vocabulary import keep_tokens
from compress.runtime.encoding import pad
from compress.runtime.long_texts import HEAD
from compress.runtime.predictor import Logits, predict_logits
from compress.training.batches import Encodings
from compress.training.finetune import encode, encode_to_train
from tests.conftest import FILLERS, WORDS
from tests.tiny import read, write_rows

QUICK: dict[str, Any] = {"precision": "fp32", "threads": 1}
ENTRY = {"mode": "windows", "stride": 5, "pooling": "max"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of 5 to 80 words, of which one or two say the label."""
    folder, rng = tmp_path_factory.mktemp("documents"), random.Random(0)
    for split, count in {"train": 96, "validation": 40, "test": 24}.items():
        rows: list[dict[str, object]] = []
        for number in range(count):
            label = ("negative", "positive")[number % 2]
            words = [*rng.choices(WORDS[label], k=2), *rng.choices(FILLERS, k=rng.randint(3, 78))]
            rng.shuffle(words)
            rows.append({"text": " ".join(words), "label": label})
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def documents(data: Path) -> Dataset:
    return read(data)


@pytest.fixture(scope="module")
def made(shallow_encoder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of all kinds, from one finetune in windows."""
    home = tmp_path_factory.mktemp("windows")
    compress.finetune(
        shallow_encoder,
        data,
        home / "teacher",
        max_length=24,
        long_texts="windows",
        stride=5,
        pooling="max",
        epochs=2,
        learning_rate=1e-3,
        **QUICK,
    )
    compress.distill(home / "teacher", data, home / "student", layers=1, epochs=1, augment=1, **QUICK)
    compress.prune(home / "student", data, home / "pruned", heads=0.5, epochs=0, **QUICK)
    compress.export(home / "pruned", home / "onnx", threads=1)
    compress.quantize(home / "onnx", data, home / "int8", max_drop=100, threads=1)
    return {folder.name: folder for folder in home.iterdir()}


def test_every_step_keeps_it(made: dict[str, Path]) -> None:
    assert {name: read_manifest(folder).long_texts for name, folder in made.items()} == dict.fromkeys(made, ENTRY)
    assert "windows of 24 tokens that share 5; the max of" in (made["onnx"] / "README.md").read_text(encoding="utf-8")


def test_a_teacher_that_reads_less_than_windows_share_is_refused(
    made: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    teacher = load_classifier(str(made["teacher"]))
    (tmp_path / "short").mkdir()
    save_checkpoint(replace(teacher, max_length=7, long_texts=HEAD), tmp_path / "short")
    told = r"short: reads 7 tokens, 5 without the special ones, but windows of .*student share 5; give"
    with pytest.raises(CompressError, match=told):
        compress.prune(made["student"], data, tmp_path / "out", teacher=str(tmp_path / "short"), heads=0.5, **QUICK)


def test_what_is_served_is_what_training_judged(made: dict[str, Path], documents: Dataset) -> None:
    """The best of each logit over a text's windows, each of them read alone."""
    model, texts = load_classifier(str(made["pruned"])), documents.validation.texts
    torch_model = TorchPredictor(model)
    alone = [[torch_model.run(pad([row]))[0] for row in encoding.rows] for encoding in model.encoder(texts)]
    assert max(map(len, alone)) > 3
    expected = np.stack([np.max(rows, axis=0) for rows in alone])
    judged = predict_logits(torch_model, texts)
    served: Logits = compress.load(made["onnx"], threads=1).logits(texts)
    assert np.abs(judged - expected).max() < 1e-5
    assert np.abs(served - expected).max() < 1e-5
    metrics = read_manifest(made["teacher"]).history[0]["metrics"]
    teacher = load_classifier(str(made["teacher"]))
    hits = predict_logits(TorchPredictor(teacher), texts).argmax(axis=1) == documents.validation.targets(
        teacher.labels, teacher.task
    )
    assert metrics["validation_accuracy"] == pytest.approx(hits.mean())


def test_every_window_is_learned_with_the_labels_of_its_text(made: dict[str, Path], documents: Dataset) -> None:
    model = load_classifier(str(made["teacher"]))
    whole, learned = encode(model, documents.train), encode_to_train(model, documents.train)
    rows = [row.ids for encoding in whole.encodings for row in encoding.rows]
    assert [encoding.ids for encoding in learned.encodings] == rows
    assert len(learned) == len(learned.targets) > 1.5 * len(whole)
    first = replace(model, long_texts=replace(model.long_texts, pooling="first"))
    assert [each.ids for each in encode_to_train(first, documents.train).encodings] == rows
    assert len(encode(first, documents.train).encodings.ids) < sum(map(len, rows))


def test_bench_times_and_judges_what_is_served(made: dict[str, Path], documents: Dataset) -> None:
    texts = documents.test.texts
    for name in ("student", "onnx"):
        row = Row(made[name])
        server = ModelServer(1, path=str(row.path), device=row.device, provider=row.provider, backend=row.backend)  # type: ignore[arg-type]
        model = open_row(row, 1)
        encodings = model.encoder(texts)
        server.prepare(texts, 1, "real")
        assert server.cost()["mean_tokens"] == pytest.approx(np.mean([len(each) for each in encodings]))
        labels = [model.labels[at] for at in predict_logits(model, texts).argmax(axis=1)]
        answer = answer_of(model)
        answers = [answer(text) for text in texts]
        assert [found.label if isinstance(found, compress.Prediction) else found[0] for found in answers] == labels  # type: ignore[index]


def test_a_teacher_reads_its_students_windows(made: dict[str, Path], documents: Dataset, tmp_path: Path) -> None:
    """A student that knows fewer tokens cuts its windows elsewhere."""
    teacher = load_classifier(str(made["teacher"]))
    student = keep_tokens(teacher, set(teacher.tokenizer.get_vocab()) - {*FILLERS[3:], *WORDS["negative"]})
    corpus = Corpus(student, documents, DistillConfig(), (), None, tmp_path)
    own = corpus.read_by_student(encode_to_train(student, documents.train).encodings)
    its = corpus.read_by(teacher, own, 0)
    assert len(own) > len(encode_to_train(teacher, documents.train))
    assert words(teacher, its) == words(student, own)
    with pytest.raises(CompressError, match="cannot read the windows of"):
        corpus.read_by(replace(teacher, max_length=20), own, 0)


def test_a_students_divergence_is_of_pooled_answers(made: dict[str, Path], documents: Dataset, tmp_path: Path) -> None:
    """It gives 0 to a student that answers whole texts as its teacher does, and more to any other."""
    teacher = load_classifier(str(made["teacher"]))
    corpus = Corpus(teacher, documents, DistillConfig(precision="fp32"), (), None, tmp_path)
    answers = predict_logits(TorchPredictor(teacher), documents.validation.texts)
    teachers = [Teacher(teacher, teacher_digest(teacher), 0)]
    chosen_by = divergence_from(teachers, corpus, encode(teacher, documents.validation))
    assert chosen_by(answers) == pytest.approx(0, abs=1e-5)
    assert chosen_by(answers[:, ::-1].copy()) > 1e-3
    assert chosen_by(np.roll(answers, 2, axis=0)) > 1e-4  # those of other texts with the same labels


def words(model: Checkpoint, encodings: Encodings) -> list[str]:
    return list(model.tokenizer.convert_ids_to_tokens(encodings.ids.tolist()))


def test_the_head_and_the_tail_in_every_step(shallow_torch: Path, data: Path, tmp_path: Path) -> None:
    """Distill may choose another mode than its teacher's."""
    compress.distill(
        shallow_torch,
        data,
        tmp_path / "student",
        layers=1,
        epochs=1,
        long_texts="head-tail",
        freeze_embeddings=True,
        **QUICK,
    )
    compress.export(tmp_path / "student", tmp_path / "onnx", threads=1)
    text = f"{read(data).test.texts[0]}" + " film" * 200 + " superb"
    student = TorchPredictor(load_classifier(str(tmp_path / "student")))
    difference = predict_logits(student, [text]) - compress.load(tmp_path / "onnx", threads=1).logits([text])
    assert np.abs(difference).max() < 1e-5
    assert student.encoder([text])[0].ids[-2] == load_classifier(str(shallow_torch)).tokenizer.convert_tokens_to_ids(
        "superb"
    )
    with pytest.raises(CompressError, match="reads long texts by head-tail, and as single_file only"):
        compress.export(tmp_path / "onnx", tmp_path / "file", single_file=True)


def test_a_student_may_read_less_than_its_teacher_and_then_both_read_as_much(
    shallow_torch: Path, data: Path, documents: Dataset, tmp_path: Path
) -> None:
    compress.distill(shallow_torch, data, tmp_path / "student", layers=1, epochs=0.1, max_length=16, **QUICK)
    student, teacher = load_classifier(str(tmp_path / "student")), load_classifier(str(shallow_torch))
    assert student.max_length == 16 < teacher.max_length
    corpus = Corpus(student, documents, DistillConfig(), (), None, tmp_path)
    own = corpus.read_by_student(encode_to_train(student, documents.train).encodings)
    assert own.lengths.max() == 16
    assert np.array_equal(corpus.read_by(teacher, own, 0).ids, own.ids)
    with pytest.raises(CompressError, match=r"distill\.max_length must be at most 128, .* got 129"):
        compress.distill(shallow_torch, data, tmp_path / "longer", layers=1, max_length=129, **QUICK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"long_texts": "tail"}, r"finetune\.long_texts should be 'head', 'head-tail' or 'windows', got tail"),
        ({"long_texts": "windows", "stride": 0}, r"finetune\.stride must be at least 1, got 0"),
        ({"long_texts": "windows", "stride": 22}, r"finetune\.stride must be below 22, .* got 22"),
        ({"long_texts": "windows", "max_length": 999}, r"finetune\.max_length must be at most 128, "),
        ({"pooling": "max"}, r"finetune\.pooling is for long_texts windows, and long_texts is head"),
        ({"long_texts": "head-tail", "stride": 3}, r"finetune\.stride is for long_texts windows"),
    ],
)
def test_bad_settings_in_one_line(
    tiny_encoder: Path, data: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(CompressError, match=message):
        compress.finetune(tiny_encoder, data, tmp_path / "out", **{"max_length": 24} | settings, **QUICK)
    assert not (tmp_path / "out").exists()


def test_pairs_have_their_heads_read(tiny_encoder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"sentence1": f"film {number}", "sentence2": "a film", "label": number % 2} for number in range(40)
    ]
    with pytest.raises(CompressError, match=r"finetune\.long_texts must be head for pairs of texts, got windows"):
        compress.finetune(
            tiny_encoder, write_rows(tmp_path / "pairs.jsonl", rows), tmp_path / "out", long_texts="windows", **QUICK
        )
