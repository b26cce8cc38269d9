"""Teachers of another family or tokenizer, several at once, and answers made elsewhere."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, DistilBertConfig, DistilBertForSequenceClassification

import compress
from compress.config import DistillConfig
from compress.data import Dataset
from compress.distillation.answers import Answers, read_answers
from compress.distillation.corpus import Corpus
from compress.distillation.distill import Teacher, _outputs
from compress.distillation.students import split_alike
from compress.distillation.teacher_cache.cache import teacher_digest
from compress.distillation.teacher_cache.outputs import TeacherForward, teacher_outputs
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, load_classifier, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from compress.training.batches import Encodings, Examples
from compress.training.optimization import TEACHER_PREFIX
from tests.conftest import FILLERS, SPECIALS, WORDS
from tests.tiny import make_checkpoint, read, same_weights, weights_of, write_rows

LABELS = ("negative", "positive")
FAST: dict[str, Any] = {"precision": "fp32", "batch_size": 8, "learning_rate": 1e-3, "device": "cpu", "threads": 1}
ONE_EPOCH: dict[str, Any] = {**FAST, "epochs": 1, "eval_steps": 1000, "layers": 1, "freeze_embeddings": True}


@pytest.fixture(scope="module")
def data(few_data: Path) -> Dataset:
    return read(few_data)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def foreigner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT with its labels in another order and a tokenizer of other tokens, ids and mask; random weights."""
    folder = tmp_path_factory.mktemp("foreign")
    words = [*FILLERS[::-1], *WORDS["positive"], *WORDS["negative"], *SPECIALS[:4], "<mask>"]
    BertTokenizer(vocab={word: at for at, word in enumerate(words)}, mask_token="<mask>").save_pretrained(folder)
    torch.manual_seed(1)
    config = DistilBertConfig(
        vocab_size=len(words), dim=64, n_layers=2, n_heads=4, hidden_dim=128, max_position_embeddings=64,
        pad_token_id=words.index("[PAD]"), initializer_range=0.1,
    )  # fmt: skip
    save_checkpoint(make_checkpoint(folder, DistilBertForSequenceClassification(config), LABELS[::-1]), folder)
    return folder


def probabilities_of(teacher: Checkpoint, data: Dataset) -> torch.Tensor:
    """Of each train text and label of the data, as the teacher answers inside ``distill``."""
    config = DistillConfig.parse({"precision": "fp32", "device": "cpu"})
    encodings = Encodings.pack(teacher.encoder(data.train.texts))
    outputs = teacher_outputs(teacher, teacher_digest(teacher), encodings, LABELS, frozenset({"logits"}), config)
    rows = np.arange(len(encodings))
    batch = Examples(encodings, data.train.targets(LABELS, "single_label"), outputs).batch(rows)
    return batch[TEACHER_PREFIX + "logits"].double().softmax(dim=-1)


def answer_file(path: Path, data: Dataset, answers: torch.Tensor) -> str:
    rows = zip(data.train.texts, answers.tolist(), strict=True)
    return str(write_rows(path, [{"text": text, "answer": dict(zip(LABELS, row, strict=True))} for text, row in rows]))


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return weights_of(load_classifier(str(folder)).model)


@pytest.fixture
def texts_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How many texts each family of teachers reads."""
    read_by: Counter[str] = Counter()
    forward = TeacherForward.__call__

    def counted(self: TeacherForward, inputs: Any, states: Any) -> Any:
        read_by[EncoderView(self.model).family.model_type] += len(inputs["input_ids"])
        return forward(self, inputs, states)

    monkeypatch.setattr(TeacherForward, "__call__", counted)
    return iter([read_by])


def test_a_student_of_another_family_and_tokenizer_keeps_both_and_learns(
    tiny_torch: Path, foreigner: Path, few_data: Path, tmp_path: Path
) -> None:
    settings = {**FAST, "hard_weight": 0.0, "epochs": 1, "eval_steps": 1000}
    result = compress.distill(tiny_torch, few_data, tmp_path / "student", student=str(foreigner), **settings)
    before, student = load_classifier(str(foreigner)), load_classifier(str(result.folder))
    assert student.model.config.model_type == "distilbert"
    assert student.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    assert student.max_length == before.max_length
    assert not same_weights(weights_of(student.model), weights_of(before.model))


def test_answers_teach_labels_by_name(foreigner: Path, data: Dataset, tmp_path: Path) -> None:
    """The model's labels are in another order than the data's, in which answers are read."""
    student, config = load_classifier(str(foreigner)), DistillConfig.parse({})
    likely = torch.linspace(0.1, 0.9, len(data.train), dtype=torch.float64)
    answers = read_answers(answer_file(tmp_path / "a.jsonl", data, torch.stack([likely, 1 - likely], 1)), data, LABELS)
    corpus = Corpus(student, data, config, (), answers, tmp_path)
    own = corpus.read_by_student(Encodings.pack(student.encoder(data.train.texts)))
    rows = np.arange(len(own))
    outputs, _ = _outputs([Teacher(student, "", 0)], corpus, own, frozenset({"logits"}), rows)
    assert outputs is not None
    states = outputs(rows.tolist(), Examples(own, data.train.targets(student.labels, "single_label"), None).batch(rows))
    assert student.labels == LABELS[::-1]
    assert torch.allclose(states["logits"].double().softmax(dim=-1)[:, 1], likely, atol=1e-6)


def test_in_altered_texts_a_teacher_reads_its_own_mask(
    tiny_torch: Path, foreigner: Path, data: Dataset, tmp_path: Path
) -> None:
    student, teacher = load_classifier(str(tiny_torch)), load_classifier(str(foreigner))
    config = DistillConfig.parse({"augment": 2})
    corpus = Corpus(student, data, config, (), None, tmp_path)
    own = corpus.read_by_student(Encodings.pack(student.encoder(data.train.texts)))
    its = corpus.read_by(teacher, own, 0)
    assert len(own) == len(its) > 2 * len(data.train)
    masks = [
        [sum(token == model.tokenizer.mask_token_id for token in text.ids) for text in read]
        for model, read in ((student, own), (teacher, its))
    ]
    assert masks[0] == masks[1]
    assert sum(masks[0]) > 30
    assert corpus.read_by(student, own, 0) is own


def test_losses_that_compare_tokens_are_refused_for_another_tokenizer(
    tiny_torch: Path, foreigner: Path, few_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CompressError, match=r"its tokenizer is not that of .*, so key\.\d+ cannot .* only soft_weight"):
        compress.distill(tiny_torch, few_data, tmp_path / "out", student=str(foreigner), relation_weight=1.0, **FAST)
    assert not (tmp_path / "out").exists()


def test_several_teachers_teach_the_mean_of_their_probabilities_and_read_each_text_once(
    tiny_torch: Path,
    foreigner: Path,
    few_data: Path,
    data: Dataset,
    tmp_path: Path,
    texts_read: Iterator[Counter[str]],
) -> None:
    """The same student, bit for bit, as from a file with those means: so the file's answers are what is learned."""
    counts, texts = next(texts_read), len({*data.train.texts, *data.validation.texts})
    averaged = compress.distill([tiny_torch, foreigner], few_data, tmp_path / "averaged", **ONE_EPOCH)
    assert counts == {"bert": texts, "distilbert": texts}
    assert averaged.metrics["teachers"] == [str(tiny_torch), str(foreigner)]

    each = [probabilities_of(load_classifier(str(source)), data) for source in (tiny_torch, foreigner)]
    assert counts == {"bert": texts, "distilbert": texts}  # from the caches
    assert (each[0] - each[1]).abs().mean() > 0.1
    own = predict_logits(TorchPredictor(load_classifier(str(foreigner))), data.train.texts)
    assert torch.allclose(each[1].flip(1), torch.from_numpy(own).double().softmax(dim=-1), atol=1e-5)
    file = answer_file(tmp_path / "mean.jsonl", data, torch.stack(each).mean(dim=0))
    answered = compress.distill(tiny_torch, few_data, tmp_path / "answered", teacher_answers=file, **ONE_EPOCH)
    assert (averaged.metrics["judged_by"], answered.metrics["judged_by"]) == ("divergence", "accuracy")
    assert same_weights(weights_in(tmp_path / "averaged"), weights_in(tmp_path / "answered"))
    compress.distill(tiny_torch, few_data, tmp_path / "alone", **ONE_EPOCH)
    assert not same_weights(weights_in(tmp_path / "averaged"), weights_in(tmp_path / "alone"))
    assert counts == {"bert": texts, "distilbert": texts}


def test_the_history_says_what_a_student_was_trained_with_where_its_settings_do_not(
    tiny_torch: Path, few_data: Path, data: Dataset, tmp_path: Path
) -> None:
    file = write_rows(tmp_path / "labels.jsonl", [{"text": data.train.texts[0], "answer": LABELS[0]}])
    quick: dict[str, Any] = {**FAST, "epochs": 0.1, "layers": 1}
    for name, settings, frozen, temperature in (
        ("answered", {"teacher_answers": str(file)}, False, 1.0),
        ("taught", {"temperature": 3.0}, True, 3.0),
    ):
        compress.distill(tiny_torch, few_data, tmp_path / name, **quick, **settings)
        entry = read_manifest(tmp_path / name).history[-1]
        taken = {"learning_rate": 1e-3, "precision": "fp32", "freeze_embeddings": frozen, "temperature": temperature}
        assert entry["metrics"]["trained_with"] == taken
        assert entry["config"]["freeze_embeddings"] is None


def test_texts_from_a_pipe_are_read_once_and_refused_where_that_is_not_enough(
    tiny_torch: Path, foreigner: Path, data: Dataset, tmp_path: Path
) -> None:
    student, other = load_classifier(str(tiny_torch)), load_classifier(str(foreigner))
    labelled = Encodings.pack(student.encoder(data.train.texts))

    def piped(folder: str, answers: Answers | None = None) -> tuple[Corpus, Encodings]:
        reading, writing = os.pipe()
        with os.fdopen(reading), os.fdopen(writing, "w") as pipe:
            pipe.write("film\nsuperb film\n")
            pipe.close()
            config = DistillConfig.parse({"unlabeled": f"/dev/fd/{reading}"})
            corpus = Corpus(student, data, config, (), answers, tmp_path / folder)
            return corpus, corpus.read_by_student(labelled)

    corpus, own = piped("one")
    assert len(own) == len(labelled) + 2
    assert corpus.read_by(student, own, 0) is own
    with pytest.raises(CompressError, match=r"is no file; .* more than once, save it"):
        corpus.read_by(other, own, 0)
    corpus, _ = piped("two", Answers({"film": np.array([0.5, 0.5])}, are_labels=False))
    with pytest.raises(CompressError, match=r"is no file; .* more than once, save it"):
        corpus.texts()


def test_teachers_with_other_labels_are_refused(
    tiny_torch: Path, foreigner: Path, few_data: Path, tmp_path: Path
) -> None:
    other = load_classifier(str(foreigner))
    save_checkpoint(replace(other, labels=("negative", "neutral")), tmp_path / "other")
    with pytest.raises(CompressError, match="its labels are not the data's; only the model has neutral"):
        compress.distill([tiny_torch, tmp_path / "other"], few_data, tmp_path / "out", **FAST)


def test_a_tokenizer_that_cuts_at_the_other_end_is_another(tiny_torch: Path) -> None:
    teacher, student = load_classifier(str(tiny_torch)), load_classifier(str(tiny_torch))
    assert split_alike(teacher, student)
    student.tokenizer.truncation_side = "left"
    assert not split_alike(teacher, student)


def test_altered_copies_need_a_mask(tiny_torch: Path, data: Dataset, tmp_path: Path) -> None:
    student = load_classifier(str(tiny_torch))
    student.tokenizer.mask_token = None
    corpus = Corpus(student, data, DistillConfig.parse({"augment": 1}), (), None, tmp_path)
    with pytest.raises(CompressError, match="has no mask token"):
        corpus.read_by_student(Encodings.pack(student.encoder(data.train.texts)))
