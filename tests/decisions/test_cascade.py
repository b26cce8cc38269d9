"""cascade as a step, and its folder in use: answers are those of one of the two models, whoever asks and however."""

import json
import pickle
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

import compress
from benchmarks.cascade import measure
from compress.cli.main import main
from compress.config import DataConfig
from compress.decisions import cascade as joining
from compress.doctor import examine
from compress.errors import CompressError
from compress.folder import read_manifest, write_manifest
from compress.modeling.checkpoint import Checkpoint
from compress.packaging.cascade import copy_part
from compress.packaging.layout import finish_onnx_folder
from compress.runtime.cascade import Cascade
from compress.runtime.classifier import Classifier
from tests.conftest import FILLERS, SPECIALS, WORDS
from tests.packaging.test_single_file import check_answers
from tests.tiny import make_bert, read, write_onnx, write_rows

TOKENS = [*SPECIALS, *WORDS["positive"], *WORDS["negative"], *FILLERS]
LABELS = ("no", "yes")
SETTINGS: dict[str, Any] = {"max_drop": 5, "seconds": 0.05, "threads": 1}


def texts_of(number: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(TOKENS[len(SPECIALS) :], rng.integers(3, 9))) for _ in range(number)]


def as_tensors(texts: list[str]) -> dict[str, torch.Tensor]:
    """As the tokenizer of the large model reads them."""
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(TOKENS)}, model_max_length=64)
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


def written(folder: Path, model: Any, tokens: list[str], labels: tuple[str, ...]) -> Path:
    """The ONNX folder of a model whose vocabulary is ``tokens``."""
    tokenizer: Any = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=64)
    checkpoint = Checkpoint(model, tokenizer, "single_label", labels, max_length=64, source="made here")
    write_onnx(checkpoint, folder)
    return folder


def deepened(model: Any) -> Any:
    """With 11 more layers that change next to nothing but the time."""
    deep = deepcopy(model)
    layers = deep.bert.encoder.layer
    with torch.no_grad():
        for _ in range(11):
            more = deepcopy(layers[-1])
            for part in (more.attention.output, more.output):
                part.LayerNorm.weight.fill_(1)
                part.LayerNorm.bias.zero_()
                part.dense.weight.zero_()
                part.dense.bias.zero_()
            layers.append(more)
    deep.config.num_hidden_layers = len(layers)
    return deep


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small model that differs from the large one a little: other tokens, other order of labels, somewhat wrong."""
    folder, model = tmp_path_factory.mktemp("models"), make_bert(heads=(4,), neurons=(128,))
    other = [*TOKENS[: len(SPECIALS)], *TOKENS[: len(SPECIALS) - 1 : -1]]
    with torch.no_grad():
        logits = model(**as_tensors(texts_of(200, 0))).logits
        margins = logits[:, 1] - logits[:, 0]
        for value in (model.classifier.weight, model.classifier.bias):
            value.mul_(6 / margins.std())
        model.classifier.bias[1] -= 6 * margins.median() / margins.std()
    small: Any = deepcopy(model)
    with torch.no_grad():
        words = small.bert.embeddings.word_embeddings.weight
        words[: len(other)] = words[[TOKENS.index(token) for token in other]].clone()
        noise = torch.randn(small.classifier.weight.shape, generator=torch.Generator().manual_seed(0))
        small.classifier.weight.add_(0.1 * small.classifier.weight.std() * noise)
        for value in (small.classifier.weight, small.classifier.bias):
            value.copy_(value.flip(0).clone())
    return (
        written(folder / "fast", small, other, LABELS[::-1]),
        written(folder / "good", deepened(model), TOKENS, LABELS),
    )


@pytest.fixture(scope="module")
def data(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose labels are what the large model says."""
    texts = texts_of(700, 1)
    with compress.load(models[1], threads=1) as large:
        rows: list[dict[str, object]] = [
            {"text": text, "label": found.label} for text, found in zip(texts, large(texts), strict=True)
        ]
    folder = tmp_path_factory.mktemp("data")
    for split, part in {"train": rows[:60], "validation": rows[60:560], "test": rows[560:]}.items():
        write_rows(folder / f"{split}.jsonl", part)
    return folder


@pytest.fixture(scope="module")
def joined(models: tuple[Path, Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cascade") / "joined"
    compress.cascade(*models, data, out, **SETTINGS)
    return out


@pytest.fixture(scope="module")
def opened(models: tuple[Path, Path]) -> Iterator[tuple[Classifier, Classifier]]:
    with compress.load(models[0], threads=1) as small, compress.load(models[1], threads=1) as large:
        yield small, large


def test_the_folder_holds_both_models_whole_and_says_how_it_decides(
    joined: Path, models: tuple[Path, Path], data: Path
) -> None:
    manifest, parts = read_manifest(joined), [read_manifest(model) for model in models]
    assert [read_manifest(joined / name).digest for name in ("small", "large")] == [part.digest for part in parts]
    assert (manifest.kind, manifest.labels) == ("onnx", LABELS)
    assert manifest.parameters == sum(part.parameters for part in parts)
    assert manifest.decision is not None
    assert (manifest.decision["max_drop"], manifest.decision["confidence"], manifest.decision["texts"]) == (
        *(0.05, 0.95),
        500,
    )
    entry = manifest.history[-1]
    assert (entry["step"], entry["parent"]["digest"], entry["small"]["digest"]) == (
        "cascade",
        *(part.digest for part in reversed(parts)),
    )
    assert entry["metrics"]["small_answer_ms"] < entry["metrics"]["answer_ms"] < entry["metrics"]["large_answer_ms"]
    validation = read(data).validation
    with compress.load(joined, threads=1) as classifier:
        assert isinstance(classifier, Cascade)
        handed_on = classifier.handed_on(classifier.small.logits(validation.texts))
        wrong = [
            one.labels != names for one, names in zip(classifier(validation.texts), validation.labels, strict=True)
        ]
    assert manifest.decision["handed_on"] == pytest.approx(len(handed_on) / 500)
    assert manifest.decision["drop"] == pytest.approx(np.mean(wrong))  # the large model is always right here
    assert manifest.decision["drop"] <= manifest.decision["drop_bound"] <= 0.05
    assert f"{100 * manifest.decision['handed_on']:.1f}% were handed on" in (joined / "README.md").read_text()


def test_each_text_is_answered_by_one_of_the_two(opened: tuple[Classifier, Classifier]) -> None:
    """With a threshold of 0 by the small one, above 1 by the large one, between them by whichever is to."""
    (small, large), texts = opened, [*texts_of(40, 2), "", "good " * 5000]
    by_small, by_large = small.logits(texts)[:, ::-1], large.logits(texts)
    assert Cascade(small, large, 0).logits(texts) == pytest.approx(by_small, abs=1e-5)
    assert Cascade(small, large, 2).logits(texts) == pytest.approx(by_large, abs=1e-5)
    cascade, scores = Cascade(small, large, 0.9), [answer.score for answer in small(texts)]
    mixed = cascade.logits(texts)
    hard = np.array(scores) < 0.9
    assert 5 < hard.sum() < len(texts) - 5
    assert mixed == pytest.approx(np.where(hard[:, None], by_large, by_small), abs=1e-5)
    assert np.stack([cascade.logits(text) for text in texts]) == pytest.approx(mixed, abs=1e-5)
    assert [answer.label for answer in cascade(texts)] == [LABELS[row] for row in mixed.argmax(axis=1)]
    assert cascade([]) == []


def test_hard_texts_go_on_together(opened: tuple[Classifier, Classifier], monkeypatch: pytest.MonkeyPatch) -> None:
    (small, large), texts = opened, texts_of(60, 3)
    asked: list[list[Any]] = []
    answer = large._answers

    def noted(texts: list[Any]) -> Any:
        asked.append(texts)
        return answer(texts)

    monkeypatch.setattr(large, "_answers", noted)
    cascade = Cascade(small, large, 0.9)
    cascade(texts)
    hard = [text for text, found in zip(texts, small(texts), strict=True) if found.score < 0.9]
    assert asked == [hard]
    cascade(next(text for text in texts if text not in hard))
    assert asked == [hard]


def test_it_is_shared_by_threads_copied_and_closed(joined: Path) -> None:
    texts = texts_of(30, 4)
    with compress.load(joined, threads=2, instances=2) as classifier, ThreadPoolExecutor(3) as threads:
        expected = classifier.logits(texts)
        for found in threads.map(classifier.logits, [texts] * 6):
            assert found == pytest.approx(expected, abs=1e-5)
        again = pickle.loads(pickle.dumps(classifier))
        copied = copy(classifier)
    assert "a cascade" in repr(classifier)
    for some in (texts, []):
        with pytest.raises(CompressError, match="is closed"):
            classifier(some)
    for other in (again, copied):
        assert other.logits(texts) == pytest.approx(expected, abs=1e-5)
        other.close()
    with pytest.raises(CompressError, match="is closed"):
        copied("good")


@pytest.mark.parametrize("name", ["small/onnx/model.onnx", "large/tokenizer.json", "small/compress.json", "README.md"])
def test_a_change_to_either_part_is_refused(joined: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(joined, tmp_path / "joined")
    changed = tmp_path / "joined" / name
    changed.write_bytes(changed.read_bytes()[:-3] + b"   ")
    with pytest.raises(CompressError, match=Path(name).name):
        compress.load(tmp_path / "joined")


def test_parts_that_do_not_belong_together_are_refused(joined: Path, tmp_path: Path) -> None:
    """A whole part with other labels, and one whose files are not the folder's."""
    folder = tmp_path / "joined"
    shutil.copytree(joined, folder)
    whole, part = read_manifest(folder), read_manifest(folder / "small")
    (folder / "small" / "config.json").unlink()
    write_manifest(folder / "small", replace(part, labels=("maybe", "yes")))
    write_manifest(folder, whole)
    with pytest.raises(CompressError, match="small: has another task or other labels"):
        compress.load(folder)
    write_manifest(folder / "small", part)
    (folder / "small" / "README.md").unlink()
    write_manifest(folder, whole)
    with pytest.raises(CompressError, match="lists other files than"):
        compress.load(folder)


def test_one_file_holds_both_where_they_read_the_same_ids(
    joined: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, model = tmp_path / "alike", make_bert(heads=(4,), neurons=(128,), seed=1)
    other = written(tmp_path / "other", model, TOKENS, LABELS[::-1])
    for name, part in (("small", other), ("large", models[1])):
        copy_part(part, read_manifest(part), folder / name)
    manifest, texts = read_manifest(joined), texts_of(40, 6)
    with compress.load(other, threads=1) as small:
        scores = [answer.score for answer in small(texts)]
    decision = (manifest.decision or {}) | {"hand_on_below": float(np.median(scores))}
    finish_onnx_folder(folder, "alike", replace(manifest, decision=decision, files=()))
    compress.export(folder, tmp_path / "single", single_file=True)
    assert read_manifest(tmp_path / "single").decision is None
    assert "validation texts that this was tested on" in (tmp_path / "single" / "README.md").read_text()
    check_answers(folder, tmp_path / "single", texts)
    with pytest.raises(CompressError, match="have other tokenizers"):
        compress.export(joined, tmp_path / "none", single_file=True)


def test_what_cannot_be_or_does_not_pay_is_refused_and_nothing_is_written(
    models: tuple[Path, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = models

    def refused(small: Path, large: Path, *settings: str, data: Path = data) -> str:
        flags = ["--data", str(data), "--out", str(tmp_path / "out"), "--threads", "1", "--seconds", "0.05", "--quiet"]
        assert main(["cascade", str(small), str(large), *flags, *settings]) == 2
        assert not (tmp_path / "out").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    with monkeypatch.context() as patch:
        patch.delattr("compress.steps.decisions.exported")  # too few texts are refused before any work
        assert "needs at least 1,004 validation texts, got 500" in refused(small, large)
    assert re.search(
        r"takes [\d.]+ ms .* and the large one [\d.]+; name the faster one", refused(large, small, "--max-drop", "5")
    )
    assert "the small model alone loses at most 40 points" in refused(small, large, "--max-drop", "40")
    given_ms = iter([[1.0, 12.0], [12.0, 12.1]])
    monkeypatch.setattr(joining, "_answer_ms", lambda *_: next(given_ms))
    model = make_bert(heads=(4,), neurons=(128,), seed=1)  # as good as a guess
    guess = written(tmp_path / "guess", model, TOKENS, LABELS)
    assert re.search(r"does not pay: \d+% of the texts must be handed on", refused(guess, large, "--max-drop", "5"))
    other = written(tmp_path / "other", model, TOKENS, ("no", "maybe"))
    assert "its labels are not the data's; only the model has maybe" in refused(small, other, "--max-drop", "5")
    bare = tmp_path / "bare"
    shutil.copytree(small, bare)
    (bare / "onnx" / "model.onnx").unlink()
    write_manifest(bare, read_manifest(small))
    assert "bare: has no graph (" in refused(bare, large, "--max-drop", "5")
    sets = (["no"], ["yes"], ["no", "yes"])
    rows: list[dict[str, object]] = [{"text": text, "label": sets[at % 3]} for at, text in enumerate(texts_of(60, 5))]
    several = write_rows(tmp_path / "several.jsonl", rows)
    assert "is for tasks with one label a text" in refused(small, large, data=several)


@pytest.mark.usefixtures("forked_workers")
def test_every_command_takes_the_folder_or_refuses_it_in_one_line(
    joined: Path,
    models: tuple[Path, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test = read(data).test
    with compress.load(joined, threads=1) as classifier:
        assert isinstance(classifier, Cascade)
        share = len(classifier.handed_on(classifier.small.logits(test.texts))) / len(test.texts)
        answers = classifier(test.texts)
    right = np.mean([answer.labels == names for answer, names in zip(answers, test.labels, strict=True)])
    given_ms = iter([[1.0, 12.0], [12.0, 4.0]])  # real times have to say that it pays once, for ``joined``
    monkeypatch.setattr(joining, "_answer_ms", lambda *_: next(given_ms))
    told = measure(*models, DataConfig(data=str(data)), 5, tmp_path, seconds=0.05, threads=1)
    assert [told["digests"][name] for name in ("small", "large")] == [read_manifest(model).digest for model in models]
    large, _, entry = json.loads((tmp_path / "report" / "results.json").read_text())["models"]
    assert large["cascade"] is None
    assert entry["cascade"]["handed_on"] == pytest.approx(share)
    assert entry["accuracy"]["value"] == pytest.approx(right)
    assert entry["answer_p50_ms"] <= entry["answer_p95_ms"]
    change = entry["versus_first"]
    assert change["speedup_answer"] == pytest.approx(large["answer_mean_ms"] / entry["answer_mean_ms"])
    assert change["speedup_answer_ci95"][0] <= change["speedup_answer"] <= change["speedup_answer_ci95"][1]
    assert told["mean_ratio"] == pytest.approx(1 / change["speedup_answer"], abs=1e-3)
    assert told["accuracy"]["cascade"] == pytest.approx(right, abs=1e-4)
    sentence = f"cascade is a cascade: it hands {100 * share:.1f}% of the test texts on to its large model."
    assert sentence in (tmp_path / "report" / "report.md").read_text()
    assert sentence in (tmp_path / "report" / "report.html").read_text()
    assert compress.check(joined, models[1], data, max_drop=100, speed=False, threads=1)["passed"]

    assert main(["predict", str(joined), str(test.texts[0]), "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == answers[0].label
    assert all(finding.ok for finding in examine(joined) if finding.about in ("model", "serving"))
    for command in (["calibrate", str(joined), "--data", str(data)], ["export", str(joined), "--for", "tei"]):
        assert main([*command, "--out", str(tmp_path / "out")]) == 2
        assert f"give one of them: {joined / 'small'} or {joined / 'large'}" in capsys.readouterr().err
    flags = ["--data", str(data), "--out", str(tmp_path / "out"), "--length", "8", "--batch", "1"]
    assert main(["bench", str(joined), *flags]) == 2
    assert "it is a cascade, which runs on a CPU and reads texts" in capsys.readouterr().err
