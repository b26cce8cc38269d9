"""Several labels at once, pairs, 2 to 41 labels take every step in families beside BERT; every ranking ranks each.

77 labels take every step in ``tests/graph/test_tasks.py``, of BERT; the graph of 150 is in ``test_families.py``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

import compress
from compress.config import PruneConfig
from compress.families import FAMILIES
from compress.families.family import Family
from compress.families.view import EncoderView
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.modeling.widths import Widths
from compress.pruning.ranking import magnitude_importance, rank
from compress.runtime.predictor import predict_logits
from compress.training.batches import Encodings, Examples
from tests.families.models import ALIKE, UNEVEN, make_model
from tests.families.test_steps import make_encoder
from tests.tiny import make_checkpoint, write_rows

ONCE: dict[str, Any] = {"precision": "fp32", "threads": 1, "batch_size": 32, "learning_rate": 1e-3, "epochs": 1}
TASKS = [
    ("roberta", "multi_label", 41, "magnitude"),
    ("electra", "pair_multi_label", 2, "fisher"),
    ("modernbert", "pair_single_label", 3, "magnitude"),
    ("deberta-v2", "pair_single_label", 5, "magnitude"),
    ("distilbert", "multi_label", 2, "surgeon"),
    *(pytest.param(name, "multi_label", 3, "fisher", marks=pytest.mark.slow) for name in ALIKE),
]
WORDS = ("good", "bad", "film", "story", "the", "very", "dull", "fun")


def rows_of(task: str, labels: list[str]) -> list[dict[str, object]]:
    """Twice as many as labels, at least 60; each label is there, and where several may apply none is there too."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for number in range(max(60, 2 * len(labels))):
        first, second = (" ".join(rng.choice(WORDS, rng.integers(1, 30))) + f" {number}" for _ in range(2))
        row: dict[str, object] = {"sentence1": first, "sentence2": second} if "pair" in task else {"text": first}
        named = labels[number % len(labels)]
        several = [named, *rng.choice(labels, number % 2)] if number % 4 else []
        rows.append(row | ({"labels": sorted(set(several))} if "multi" in task else {"label": named}))
    return rows


def test_every_family_takes_every_step() -> None:
    tried = [getattr(each, "values", each)[0] for each in TASKS]
    assert sorted(map(str, tried)) == sorted(FAMILIES.keys() - {"bert"})


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize(("model_type", "task", "labels", "importance"), TASKS)
def test_each_task_goes_all_the_way(
    model_type: str,
    task: str,
    labels: int,
    importance: str,
    tiny_encoder: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    family = FAMILIES[model_type]
    rows = rows_of(task, [f"label {number:03}" for number in range(labels)])
    data = tmp_path / "data"
    data.mkdir()
    for split, count in {"train": len(rows), "validation": 60, "test": 60}.items():
        write_rows(data / f"{split}.jsonl", rows[:count])
    make_encoder(model_type, tiny_encoder, tiny_data, tmp_path / "encoder")
    compress.finetune(tmp_path / "encoder", data, tmp_path / "teacher", **ONCE)
    compress.distill(tmp_path / "teacher", data, tmp_path / "student", layers=2, hidden_weight=0.1, **ONCE)
    shares: dict[str, Any] = {"heads": 0.5, "ffn": 0.5, "hidden_size": 48, "importance": importance}
    compress.prune(tmp_path / "student", data, tmp_path / "pruned", **shares, **ONCE)
    compress.export(tmp_path / "pruned", tmp_path / "onnx", threads=1)
    compress.export(tmp_path / "pruned", tmp_path / "fp16", precision="fp16", threads=1)
    forms = {"int8": "dynamic"}
    if model_type != "distilbert":  # its graph in static int8 is RoBERTa's: one segment, the same layers and operators
        forms["static"] = "static"
    for name, kind in forms.items():
        compress.quantize(tmp_path / "onnx", data, tmp_path / name, activations=kind, threads=1, max_drop=100)
    if model_type == "distilbert":  # whose texts have no segments
        compress.export(tmp_path / "int8", tmp_path / "single", single_file=True, threads=1)
    assert "warning" not in capsys.readouterr().err  # every kernel fuses as it does for BERT
    if model_type == "deberta-v2":
        shapes: dict[str, Any] = {"seconds": 0.05, "threads": [1], "length": [8], "batch": [1]}
        report = compress.bench([tmp_path / "onnx", tmp_path / "int8"], data, tmp_path / "report", **shapes)
        onnx, int8 = (model["cost"]["macs"] for model in report.metrics["models"])
        assert 0 < int8 == onnx
    pruned = load_classifier(str(tmp_path / "pruned"))
    assert (pruned.task, len(pruned.labels)) == (task, labels)
    widths = Widths.of(pruned.model)
    assert (EncoderView(pruned.model).hidden_size, sum(widths.heads), sum(widths.neurons)) == (48, 4, 128)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "pruned")
    assert again.config.model_type == f"pruned_{model_type}"
    sides = ("sentence1", "sentence2") if "pair" in task else ("text",)
    some = [tuple(str(row[side]) for side in sides) for row in rows[:9]]
    texts: Any = some if "pair" in task else [text for (text,) in some]
    logits = predict_logits(TorchPredictor(pruned), texts)
    with compress.load(tmp_path / "onnx", threads=1) as classifier:
        found = np.array([list(answer.scores.values()) for answer in classifier(texts)])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = 1 / (1 + np.exp(-logits)) if "multi" in task else exponents / exponents.sum(axis=1, keepdims=True)
    assert found == pytest.approx(expected, abs=1e-5)
    for name, share in {"fp16": 0.01, **dict.fromkeys(forms, 0.1)}.items():  # of what the logits are apart
        temperature = read_manifest(tmp_path / name).history[-1]["metrics"].get("temperature", 1.0)
        with compress.load(tmp_path / name, threads=1) as classifier:
            off = np.abs(classifier.logits(texts) * temperature - logits).max()
        assert off < share * np.ptp(logits, axis=0).max(), name
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == (model_type, [family.classifier])
    assert (tmp_path / "int8" / "vocab.txt").is_file() == (model_type in ("electra", "distilbert"))
    card = (tmp_path / "int8" / "README.md").read_text()
    assert f"- {model_type}\n" in card
    assert f"inputs {', '.join(f'`{name}`' for name in family.inputs)} (int64," in card


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_every_ranking_scores_every_head_and_neuron(family: Family, tiny_encoder: Path) -> None:
    checkpoint = make_checkpoint(tiny_encoder, make_model(family, UNEVEN), ("a", "b"))
    encodings = Encodings.pack(checkpoint.encoder(["a good film", "a very bad story", "fun", "dull and tired"]))
    examples = Examples(encodings, np.array([1, 0, 1, 0]))
    for importance in ("surgeon", "fisher", "magnitude", "random"):
        found = rank(checkpoint, examples, PruneConfig(heads=0.5, importance=importance, batch_size=2))
        shapes = tuple(map(len, found.heads)), tuple(map(len, found.neurons))
        assert shapes == (UNEVEN.heads, UNEVEN.neurons), importance
        assert all(bool((scores >= 0).all()) for scores in (*found.heads, *found.neurons)), importance


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_magnitude_is_of_all_weights_that_go_with_a_unit(family: Family, tiny_encoder: Path) -> None:
    """Those that cutting it takes away, biases and norms aside."""
    settings: dict[str, Any] = {"share_att_key": False} if family.relative_positions else {}
    model = make_model(family, **settings)
    found = magnitude_importance(make_checkpoint(tiny_encoder, model, ("a", "b")))
    for layer, heads, neurons in zip(EncoderView(model).layers, found.heads, found.neurons, strict=True):
        writers = (*layer.projections, *layer.position_projections)
        matrices = ([*writers, layer.attention_output], [layer.ffn_input, layer.ffn_output])
        for units, linears in zip((heads, neurons), matrices, strict=True):
            total = sum(float(linear.weight.detach().double().square().sum()) for linear in linears)
            assert float(units.sum()) == pytest.approx(total)
