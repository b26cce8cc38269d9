"""Tokens that go: the rest is read as before, bit for bit, and every later step takes the smaller model."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from transformers import BertTokenizer

import compress
from compress.config import PruneConfig
from compress.distillation import texts
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.modeling.checkpoint import Checkpoint, load_classifier, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.pruning import vocabulary
from compress.pruning.vocabulary import chosen_tokens, compare_reading, count_tokens, keep_tokens
from compress.runtime.predictor import predict_logits
from compress.runtime.session import OnnxPredictor
from tests.conftest import FILLERS, SPECIALS, WORDS
from tests.tiny import make_bert, make_checkpoint, parts, read, weights_of

LABELS = ("negative", "positive")
GONE = {"film", "superb", "dull"}
FAST: dict[str, Any] = {"precision": "fp32", "batch_size": 8, "learning_rate": 1e-3, "threads": 1}


@pytest.fixture
def whole(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(), LABELS)


@pytest.fixture
def no_common(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny vocabulary is smaller than the number of common tokens that always stay."""
    monkeypatch.setattr(vocabulary, "COMMON", 0)


@pytest.fixture(scope="module")
def without_film(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data where no train text has one of ``GONE``; validation and test have them all."""
    folder = tmp_path_factory.mktemp("without")
    for name in ("train", "validation", "test"):
        lines = (tiny_data / f"{name}.jsonl").read_text().splitlines(keepends=True)
        kept = [line for line in lines if name != "train" or not GONE & set(json.loads(line)["text"].split())]
        (folder / f"{name}.jsonl").write_text("".join(kept))
    return folder


def accuracy(model: Checkpoint, data: Path) -> float:
    validation = read(data).validation
    logits = predict_logits(TorchPredictor(model), validation.texts)
    return float((logits.argmax(1) == validation.targets(model.labels, model.task)).mean())


def without(model: Checkpoint, gone: set[str] = GONE) -> Checkpoint:
    return keep_tokens(model, set(model.tokenizer.get_vocab()) - gone)


def test_texts_whose_tokens_all_stay_get_the_same_logits_bit_for_bit(
    whole: Checkpoint, tiny_data: Path, tmp_path: Path
) -> None:
    smaller = without(whole)
    texts = [str(text) for text in read(tiny_data).test.texts]
    stay = [not GONE & set(text.split()) for text in texts]
    assert 10 < sum(stay) < len(texts) - 10
    predictors: list[list[Any]] = [[TorchPredictor(model) for model in (whole, smaller)], []]
    for name, model in {"whole": whole, "smaller": smaller}.items():
        graph = tmp_path / name / "model.onnx"
        graph.parent.mkdir()
        onnx.save(graph_of(model.model), graph)
        predictors[1].append(OnnxPredictor(graph, model.manifest("onnx"), model.encoder, threads=1))
    for one, other in predictors:
        logits = [np.stack([predict_logits(model, [text])[0] for text in texts]) for model in (one, other)]
        assert (logits[0] == logits[1]).all(axis=1).tolist() == stay
    reading = compare_reading(whole, smaller, texts)
    words = " ".join(texts).split()
    assert reading["texts_changed"] == 1 - np.mean(stay)
    assert reading["tokens_changed"] == pytest.approx(np.mean([word in GONE for word in words]))


def test_the_table_shrinks_to_the_rows_that_stay_and_the_whole_model_is_left_alone(whole: Checkpoint) -> None:
    before, tokens = weights_of(whole.model), dict(whole.tokenizer.get_vocab())
    smaller = without(whole)
    rows = [number for token, number in tokens.items() if token not in GONE]
    name = "bert.embeddings.word_embeddings.weight"
    after = weights_of(smaller.model)
    assert after[name].equal(before[name][sorted(rows)])
    assert all(after[other].equal(before[other]) for other in before if other != name)
    assert smaller.model.config.vocab_size == len(after[name]) == len(tokens) - 3
    assert whole.parameters - smaller.parameters == (len(before[name]) - len(rows)) * 64
    assert whole.tokenizer.get_vocab() == tokens
    assert weights_of(whole.model).keys() == before.keys()
    assert whole.model.config.vocab_size == len(before[name])


def test_ids_that_the_config_names_follow(whole: Checkpoint) -> None:
    order = ["film", "dull", *SPECIALS, "good"]
    model = make_bert()
    model.config.pad_token_id, model.config.sep_token_id = 2, 5
    tokenizer = BertTokenizer(vocab={token: at for at, token in enumerate(order)})
    moved = replace(whole, model=model, tokenizer=tokenizer)
    smaller = keep_tokens(moved, set(order) - GONE)
    assert smaller.model.config.pad_token_id == smaller.tokenizer.pad_token_id == 0
    assert parts(smaller.model).bert.embeddings.word_embeddings.padding_idx == 0
    assert smaller.model.config.sep_token_id == smaller.tokenizer.sep_token_id == 3
    assert smaller.model.config.bos_token_id is None


def test_seen_common_and_needed_tokens_stay() -> None:
    letters = [mark + letter for letter in "abcdef" for mark in ("", "##")]
    words = ["abc", "bad", "##ade", "seen", "##są", "fed", "cab"]
    unread = ["[unused0]", "##!", "##漢", "é", "isn't"]  # what the pre-tokenizer splits, and accents, which go
    tokenizer = BertTokenizer(vocab={token: at for at, token in enumerate([*SPECIALS, *unread, *words, *letters])})
    counts = np.zeros(20, dtype=np.int64)
    counts[tokenizer.convert_tokens_to_ids("fed")] = 1
    always = {*SPECIALS, *letters, "fed", "seen"}  # s and n have no piece of their own
    assert chosen_tokens(tokenizer, counts, common=0) == always
    assert chosen_tokens(tokenizer, counts, common=2) == always | {"abc", "bad"}
    assert chosen_tokens(tokenizer, counts, common=99) == {*SPECIALS, *words, *letters} - {"##są"}
    cased = BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=False)
    assert chosen_tokens(cased, counts, common=0) == always | {"é", "##są"}


def test_counts_are_of_what_the_model_reads(whole: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_TEXTS_AT_ONCE", 2)
    ids = whole.tokenizer.get_vocab()
    counts = count_tokens(whole.encoder, ["good good film", "bad", "good " * 500 + "rich", "dull"])
    assert counts[ids["good"]] == 2 + 126  # of 128 tokens two are special
    assert [counts[ids[word]] for word in ("film", "bad", "dull", "[CLS]")] == [1, 1, 1, 4]
    assert len(counts) <= ids["rich"] or counts[ids["rich"]] == 0
    assert len(count_tokens(whole.encoder, [])) == 0


@pytest.mark.usefixtures("no_common")
def test_the_vocabulary_alone_is_cut_without_training_and_every_step_takes_the_model(
    tiny_torch: Path, without_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.txt").write_text("a superb film of wit\n")  # w, ##i and ##t are there anyway
    result = compress.prune(
        tiny_torch, without_film, tmp_path / "cut", vocabulary=True, unlabeled=str(tmp_path / "more.txt"), threads=1
    )
    assert "nothing is trained" in capsys.readouterr().err
    tokens = set(load_classifier(str(tiny_torch)).tokenizer.get_vocab())
    cut = load_classifier(str(result.folder))
    assert set(cut.tokenizer.get_vocab()) == tokens - {"dull"}
    assert type(cut.model).__name__ == "BertForSequenceClassification"
    found = result.metrics["vocabulary"]
    assert (found["tokens_before"], found["tokens"]) == (len(tokens), len(tokens) - 1)
    dull = ["dull" in str(text).split() for text in read(without_film).test.texts]
    assert found["test_texts_changed"] == pytest.approx(np.mean(dull))
    assert 0 < found["test_tokens_changed"] < found["test_texts_changed"]
    assert result.metrics["steps"] == 0
    for model, suffix in ((tiny_torch, "_before"), (result.folder, "")):
        assert result.metrics["validation_accuracy" + suffix] == accuracy(load_classifier(str(model)), without_film)
    assert read_manifest(result.folder).history[-1]["config"]["epochs"] == 0

    onnx_folder = compress.export(result.folder, tmp_path / "onnx", threads=1).folder
    int8 = compress.quantize(onnx_folder, without_film, tmp_path / "int8", threads=1).folder
    texts = read(without_film).validation.texts
    expected = predict_logits(TorchPredictor(cut), texts)
    assert np.abs(compress.load(onnx_folder, threads=1).logits(texts) - expected).max() < 1e-4
    assert (compress.load(int8, threads=1).logits(texts).argmax(1) == expected.argmax(1)).mean() > 0.9
    student = compress.distill(result.folder, without_film, tmp_path / "student", layers=1, epochs=1, **FAST)
    assert load_classifier(str(student.folder)).tokenizer.get_vocab() == cut.tokenizer.get_vocab()


@pytest.mark.usefixtures("no_common")
@pytest.mark.parametrize("cache_gb", [4.0, 1e-6], ids=["kept", "live"])
def test_recovery_gives_teacher_and_student_each_its_own_ids(
    tiny_torch: Path, without_film: Path, tmp_path: Path, cache_gb: float
) -> None:
    """Whatever the tokens' numbers: the teacher answers as with its own, or the soft labels would be noise."""
    result = compress.prune(
        tiny_torch, without_film, tmp_path / "both", vocabulary=True, heads=0.25, epochs=2, hard_weight=0,
        hidden_weight=0.1, cache_gb=cache_gb, **FAST | {"batch_size": 16, "learning_rate": 2e-3},
    )  # fmt: skip
    pruned, teacher = (load_classifier(str(folder)) for folder in (result.folder, tiny_torch))
    assert not GONE & pruned.tokenizer.get_vocab().keys()
    assert sum(pruned.model.config.heads_per_layer) == 12
    stay = [text for text in read(without_film).test.texts if not GONE & set(str(text).split())]
    answers = [predict_logits(TorchPredictor(model), stay).argmax(1) for model in (pruned, teacher)]
    assert len(stay) > 20
    assert (answers[0] == answers[1]).mean() > 0.8
    table = weights_of(teacher.model)["bert.embeddings.word_embeddings.weight"]
    tokens = pruned.tokenizer.get_vocab()
    rows = [teacher.tokenizer.get_vocab()[token] for token in tokens]
    own = weights_of(pruned.model)["bert.embeddings.word_embeddings.weight"]
    assert own[list(tokens.values())].equal(table[rows])  # frozen, as the teacher's own are


def test_states_of_tokens_are_not_compared_where_the_tokens_differ(
    shallow_torch: Path, tiny_data: Path, tmp_path: Path
) -> None:
    save_checkpoint(without(load_classifier(str(shallow_torch))), tmp_path / "cut")
    settings: dict[str, Any] = {"student": str(tmp_path / "cut"), "epochs": 1, **FAST}
    with pytest.raises(CompressError, match=r"^distill: \d+ of 240 texts .* hidden\.\d cannot be compared token by"):
        compress.distill(shallow_torch, tiny_data, tmp_path / "student", hidden_weight=0.1, **settings)
    assert not (tmp_path / "student").exists()
    result = compress.distill(shallow_torch, tiny_data, tmp_path / "student", hard_weight=0, **settings)
    assert result.metrics["validation_accuracy"] > 0.75


def test_epochs_are_the_users_where_given() -> None:
    assert PruneConfig.parse({"vocabulary": True}).epochs == PruneConfig(vocabulary=True).epochs == 0
    assert PruneConfig.parse({"vocabulary": True, "epochs": "3"}).epochs == 3
    assert PruneConfig.parse({"vocabulary": True, "heads": 0.5}).epochs == 2
    assert PruneConfig.parse({"heads": 0.5, "epochs": 0}).epochs == 0
    with pytest.raises(CompressError, match=r"needs heads or ffn above 0.* or vocabulary"):
        PruneConfig.parse({"vocabulary": False})


def test_an_unlabeled_pipe_is_refused(tiny_torch: Path, tiny_data: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CompressError, match="pipe: is no file; --vocabulary reads it more than once"):
        compress.prune(
            tiny_torch, tiny_data, tmp_path / "out", vocabulary=True, unlabeled=str(tmp_path / "pipe"), threads=1
        )


def test_every_word_of_the_tiny_data_is_a_token(tiny_encoder: Path) -> None:
    """What the tests above rest on."""
    tokens = make_checkpoint(tiny_encoder, make_bert(), LABELS).tokenizer.get_vocab()
    assert {*WORDS["negative"], *WORDS["positive"], *FILLERS} <= tokens.keys()
    assert {*WORDS["negative"], *WORDS["positive"], *FILLERS} >= GONE
