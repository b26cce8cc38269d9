"""Steps for the families beside BERT, each with a tokenizer of its own kind."""

from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel, AutoTokenizer

import compress
from compress.cli.main import main
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier, quiet_transformers
from compress.modeling.torch_predictor import TorchPredictor
from compress.modeling.widths import Widths
from compress.pruning import vocabulary
from compress.runtime.encoding import pad
from compress.runtime.predictor import predict_logits
from tests.families.models import settings_of
from tests.families.tokenizers import TRAINERS, save
from tests.tiny import read

TRAINING: dict[str, Any] = {"precision": "fp32", "threads": 1, "batch_size": 8, "learning_rate": 3e-3, "seed": 1}
PAIRS = [("the film is a mess", "good fun"), ("bad", "a very rich and moving story " * 20), ("", "dull")]


@pytest.fixture(scope="module")
def teachers(tiny_encoder: Path, tiny_data: Path, few_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a model that is fine-tuned on some of the data, by its model type; made when it is asked for."""
    folder, made = tmp_path_factory.mktemp("families"), {}

    def teacher(model_type: str) -> Path:
        if model_type not in made:
            encoder, out = folder / model_type / "encoder", folder / model_type / "teacher"
            make_encoder(model_type, tiny_encoder, tiny_data, encoder)
            compress.finetune(encoder, few_data, out, epochs=5, eval_steps=8, **TRAINING)
            made[model_type] = out
        return made[model_type]

    return teacher


def make_encoder(model_type: str, tiny_encoder: Path, tiny_data: Path, folder: Path) -> None:
    """Two layers, with random weights."""
    family = FAMILIES[model_type]
    folder.mkdir(parents=True)
    if model_type in TRAINERS:
        save(model_type, [str(text) for text in read(tiny_data).train.texts], 320, folder)
    else:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            copyfile(tiny_encoder / name, folder / name)
    shape = settings_of(family) | family.renamed({"num_hidden_layers": 2, "initializer_range": 0.1})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    shape |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    with quiet_transformers():
        AutoModel.from_config(getattr(transformers, family.config)(**shape)).save_pretrained(folder)


def accuracy(folder: Path, data: Path) -> float:
    test = read(data).test
    with compress.load(folder, threads=1) as classifier:
        found = [answer.label for answer in classifier(test.texts)]
    return float(np.mean([(label,) == expected for label, expected in zip(found, test.labels, strict=True)]))


@pytest.mark.parametrize("model_type", list(TRAINERS))
def test_texts_and_pairs_are_read_as_by_transformers(model_type: str, shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "banking77" / "test.csv").read_text(encoding="utf-8").splitlines()[1:400]
    tokenizer = save(model_type, lines, 600, tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    encoder = compress.runtime.encoding.TextEncoder(found.backend_tokenizer, 24)
    texts = ["", "a", "  two   words ", "Füße, 東京 \N{ROCKET} <pad> </s>", *lines[:40], " ".join(lines[:9])]
    pairs = [*PAIRS, *zip(lines[:40], lines[40:80], strict=True)]
    for some in (texts, pairs):
        sides = [list(side) for side in zip(*some, strict=True)] if some is pairs else [some]
        expected = tokenizer(*sides, truncation=True, max_length=24, padding=True, return_tensors="np")
        feeds = pad(encoder(some))
        assert np.array_equal(feeds["input_ids"], expected["input_ids"])
        assert np.array_equal(feeds["attention_mask"], expected["attention_mask"])


@pytest.mark.parametrize("model_type", ["electra", "distilbert"])
def test_a_student_of_some_layers_learns_from_every_kind_of_state(
    model_type: str, teachers: Any, tiny_data: Path, few_data: Path, tmp_path: Path
) -> None:
    weights: dict[str, Any] = {f"{name}_weight": 0.1 for name in ("embedding", "hidden", "attention", "relation")}
    sizes: dict[str, Any] = {"layers": [1], "heads": 3, "ffn_size": 64, "hidden_size": 40, "eval_steps": 12}
    compress.distill(teachers(model_type), few_data, tmp_path / "student", epochs=6, **sizes, **weights, **TRAINING)
    assert Widths.of(load_classifier(str(tmp_path / "student")).model) == Widths.even(1, 3, 64)
    compress.export(tmp_path / "student", tmp_path / "onnx", threads=1)
    assert accuracy(tmp_path / "onnx", tiny_data) > 0.7


@pytest.mark.usefixtures("timed_here", "forked_workers")
def test_it_is_pruned_to_a_latency_trained_and_measured(
    teachers: Any, tiny_data: Path, few_data: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = TRAINING | {"epochs": 1, "length": 16}
    metrics = compress.prune(teachers("roberta"), few_data, tmp_path / "fast", speedup=1.2, **settings).metrics
    found = load_classifier(str(tmp_path / "fast"))
    planned = Widths(tuple(metrics["widths"]["heads"]), tuple(metrics["widths"]["neurons"]))
    assert Widths.of(found.model) == planned.inhabited
    assert read_manifest(tmp_path / "fast").parameters == metrics["parameters"] == found.parameters
    compress.export(tmp_path / "fast", tmp_path / "onnx", threads=1)
    shapes: dict[str, Any] = {"seconds": 0.1, "threads": [1], "length": [8], "batch": [1]}
    report = compress.bench([tmp_path / "fast", tmp_path / "onnx"], tiny_data, tmp_path / "report", **shapes)
    torch_model, graph = report.metrics["models"]
    assert torch_model["accuracy"]["value"] == graph["accuracy"]["value"] > 0.7
    assert 0 < graph["cost"]["macs"] <= torch_model["cost"]["macs"]
    assert main(["doctor", str(tmp_path / "onnx")]) == 0


@pytest.mark.parametrize(
    "model_type",
    ["roberta", "distilbert", "modernbert", "deberta-v2", pytest.param("xlm-roberta", marks=pytest.mark.slow)],
)
def test_its_vocabulary_is_cut_and_what_is_known_is_answered_as_before_bit_for_bit(
    model_type: str, teachers: Any, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "COMMON", 0)  # of more tokens than there are
    lines = (tiny_data / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "some.jsonl").write_text("".join(line for line in lines if "film" not in line))
    some = tmp_path / "some.jsonl"
    found = compress.prune(teachers(model_type), some, tmp_path / "cut", vocabulary=True, threads=1).metrics
    assert found["vocabulary"]["tokens"] < found["vocabulary"]["tokens_before"]
    texts = read(some).train.texts
    whole, cut = (TorchPredictor(load_classifier(str(path))) for path in (teachers(model_type), tmp_path / "cut"))
    assert np.array_equal(predict_logits(whole, texts), predict_logits(cut, texts))
    compress.export(tmp_path / "cut", tmp_path / "onnx", threads=1)
    assert accuracy(tmp_path / "onnx", tiny_data) > 0.7


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [("modernbert", r"it normalizes texts \(NFC\)"), ("deberta-v2", r"\(Unigram\) is neither")],
)
def test_a_single_file_is_refused_for_tokenizers_that_no_operator_has(
    model_type: str, reason: str, teachers: Any, tmp_path: Path
) -> None:
    with pytest.raises(CompressError, match=reason):
        compress.export(teachers(model_type), tmp_path / "single", single_file=True, threads=1)
    assert not list(tmp_path.iterdir())
