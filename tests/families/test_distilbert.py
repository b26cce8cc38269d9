"""DistilBERT by its table alone: the same function in every form, and every step from finetune to load."""

from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers import (
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    PreTrainedModel,
)

import compress
from compress.benchmark.cost import macs_per_text, sizes_of_model
from compress.cli.main import main
from compress.families.distilbert import DISTILBERT
from compress.families.view import EncoderView
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.latency.deployment import parameters, random_model
from compress.modeling.checkpoint import load_classifier, quiet_transformers
from compress.modeling.narrow import narrow
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.modeling.states import recording
from compress.modeling.widths import Architecture, Widths
from tests.tiny import VOCABULARY, make_bert, make_feeds, read, torch_logits

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "dim": 64,
    "n_layers": 4,
    "n_heads": 4,
    "hidden_dim": 128,
    "max_position_embeddings": 128,
}
EVEN, UNEVEN = Widths.even(4, 4, 128), Widths((4, 0, 2, 3), (128, 64, 0, 32))
TRAINING: dict[str, Any] = {"precision": "fp32", "threads": 1, "batch_size": 16, "learning_rate": 2e-3}


def make_distilbert(widths: Widths = EVEN, labels: int = 2, **settings: Any) -> PreTrainedModel:
    """No weight is 0 or 1 as a fresh model's are."""
    torch.manual_seed(0)
    shape = SHAPE | {"num_labels": labels} | settings
    per_layer = {"heads_per_layer": list(widths.heads), "neurons_per_layer": list(widths.neurons)}
    model: PreTrainedModel
    with quiet_transformers():
        if widths == EVEN:
            model = DistilBertForSequenceClassification(DistilBertConfig(**shape))
        else:
            model = pruned_classifier(DISTILBERT)(
                pruned_config(DISTILBERT)(**shape, **per_layer, attention_head_size=16)
            )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if name.lower().endswith("norm.weight") else 0.0, 0.2)
    model.train(mode=False)
    return model


def feeds_of(batch: int, length: int, *, padded: bool = False) -> dict[str, Any]:
    feeds = make_feeds(batch, length, padded=padded)
    return {name: feeds[name] for name in DISTILBERT.inputs}


def apart(one: PreTrainedModel, other: PreTrainedModel) -> float:
    return max(
        float(np.abs(torch_logits(one, feeds) - torch_logits(other, feeds)).max())
        for feeds in (feeds_of(4, 17, padded=True), feeds_of(1, 5))
    )


@pytest.mark.parametrize("widths", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_graph_answers_as_transformers_does_and_reads_no_segments(widths: Widths, activation: str) -> None:
    model = make_distilbert(widths, labels=3, activation=activation)
    graph = graph_of(model).SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["input_ids", "attention_mask"]
    for batch in (1, 2, 7):
        for length in (1, 2, 9, 33, 128):
            for padded in (False, True):
                feeds = feeds_of(batch, length, padded=padded)
                logits = session.run(["logits"], feeds)[0]
                assert np.abs(logits - torch_logits(model, feeds)).max() < 1e-4, (batch, length, padded)


def test_a_berts_weights_in_distilberts_form_give_the_same_states() -> None:
    """Of one segment, which the positions then hold. Only the heads differ."""
    bert, model = make_bert(), make_distilbert()
    own, its = EncoderView(model), EncoderView(bert)
    with torch.no_grad():
        own.words.weight.copy_(its.words.weight)
        own.positions.weight.copy_(its.positions.weight + its.tables[2].weight[0])
        own.norm.load_state_dict(its.norm.state_dict())
        for layer, other in zip(own.layers, its.layers, strict=True):
            for part in (
                "query",
                "key",
                "value",
                "attention_output",
                "attention_norm",
                "ffn_input",
                "ffn_output",
                "ffn_norm",
            ):
                getattr(layer, part).load_state_dict(getattr(other, part).state_dict())
    feeds = make_feeds(5, 20, padded=True)
    feeds["token_type_ids"][:] = 0
    names = ["embeddings", *(f"{kind}.{layer}" for kind in ("hidden", "query", "key", "value") for layer in range(4))]
    with recording(bert, names) as expected, recording(model, names) as found:
        torch_logits(bert, feeds)
        torch_logits(model, {name: feeds[name] for name in DISTILBERT.inputs})
    kept = torch.from_numpy(feeds["attention_mask"]).bool()
    for name in names:
        assert (found[name][kept] - expected[name][kept]).abs().max() < 1e-4, name


@pytest.mark.parametrize("widths", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_narrower_copies_are_of_the_family(widths: Widths) -> None:
    model = make_distilbert(widths)
    assert apart(narrow(model, None, None, None), model) == 0
    stock = narrow(model, 1, 32, 16) if widths == EVEN else None
    assert stock is None or (type(stock), stock.config.hidden_dim) == (DistilBertForSequenceClassification, 32)
    narrower = narrow(model, 2, 48, 37)
    assert (type(narrower), narrower.config.dim) == (pruned_classifier(DISTILBERT), 37)
    assert np.isfinite(torch_logits(narrower, feeds_of(2, 9))).all()


def test_models_to_time_are_of_its_shape() -> None:
    model = make_distilbert(UNEVEN)
    architecture = Architecture.of(model)
    assert (architecture.segments, architecture.activation) == (0, "gelu")
    assert parameters(architecture, UNEVEN) == random_model(architecture, UNEVEN).num_parameters()
    graph = graph_of(random_model(architecture, UNEVEN))
    assert [value.name for value in graph.graph.input] == ["input_ids", "attention_mask"]


@pytest.fixture(scope="module")
def teacher(tiny_encoder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT encoder fine-tuned on the tiny data."""
    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(**SHAPE, initializer_range=0.1)).save_pretrained(folder / "encoder")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        copyfile(tiny_encoder / name, folder / "encoder" / name)
    compress.finetune(folder / "encoder", tiny_data, folder / "teacher", epochs=3, **TRAINING)
    return folder / "teacher"


def accuracy(folder: Path, data: Path) -> float:
    test = read(data).test
    with compress.load(folder, threads=1) as classifier:
        return float(
            np.mean(
                [(answer.label,) == label for answer, label in zip(classifier(test.texts), test.labels, strict=True)]
            )
        )


def test_students_learn_from_every_kind_of_state(teacher: Path, tiny_data: Path, tmp_path: Path) -> None:
    weights: dict[str, Any] = {f"{name}_weight": 0.1 for name in ("embedding", "hidden", "attention", "relation")}
    sizes: dict[str, Any] = {"layers": [0, 2], "heads": 3, "ffn_size": 64, "hidden_size": 40}
    compress.distill(teacher, tiny_data, tmp_path / "student", epochs=3, **sizes, **weights, **TRAINING)
    student = load_classifier(str(tmp_path / "student"))
    assert Widths.of(student.model) == Widths.even(2, 3, 64)
    compress.export(tmp_path / "student", tmp_path / "onnx", threads=1)
    assert accuracy(tmp_path / "onnx", tiny_data) > 0.7


@pytest.mark.usefixtures("forked_workers")
def test_it_is_pruned_exported_quantized_measured_and_served(
    teacher: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares: dict[str, Any] = {"heads": 0.5, "ffn": 0.5, "hidden_size": 48, "vocabulary": True, "epochs": 3}
    compress.prune(teacher, tiny_data, tmp_path / "pruned", **shares, **TRAINING)
    compress.export(tmp_path / "pruned", tmp_path / "onnx", threads=1)
    compress.export(tmp_path / "pruned", tmp_path / "fp16", precision="fp16", threads=1)
    compress.quantize(tmp_path / "onnx", tiny_data, tmp_path / "int8", threads=1)
    compress.export(tmp_path / "int8", tmp_path / "single", single_file=True, threads=1)
    assert "warning" not in capsys.readouterr().err  # every kernel fuses as it does for BERT
    assert accuracy(tmp_path / "int8", tiny_data) > 0.8
    config = AutoTokenizer.from_pretrained(tmp_path / "int8"), (tmp_path / "int8" / "config.json").read_text()
    assert '"model_type": "distilbert"' in config[1]
    assert '"DistilBertForSequenceClassification"' in config[1]
    card = (tmp_path / "int8" / "README.md").read_text()
    assert "- distilbert\n" in card
    assert "inputs `input_ids`, `attention_mask` (int64," in card
    report = compress.bench(
        [tmp_path / "onnx", tmp_path / "int8"],
        tiny_data,
        tmp_path / "report",
        seconds=0.1,
        threads=[1],
        length=[8],
        batch=[1],
    )
    onnx_model, int8 = report.metrics["models"]
    assert onnx_model["accuracy"]["value"] == pytest.approx(int8["accuracy"]["value"], abs=0.05)
    in_torch = sizes_of_model(load_classifier(str(tmp_path / "pruned")).model)
    assert 0 < int8["cost"]["macs"] == onnx_model["cost"]["macs"] < macs_per_text(in_torch, int8["cost"]["mean_tokens"])
    assert main(["doctor", str(tmp_path / "int8")]) == 0


@pytest.mark.usefixtures("timed_here")
def test_it_is_pruned_to_a_latency(teacher: Path, tiny_data: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = TRAINING | {"epochs": 0, "length": 16, "importance": "fisher"}
    metrics = compress.prune(teacher, tiny_data, tmp_path / "fast", speedup=1.5, **settings).metrics
    found = load_classifier(str(tmp_path / "fast"))
    planned = Widths(tuple(metrics["widths"]["heads"]), tuple(metrics["widths"]["neurons"]))
    assert Widths.of(found.model) == planned.inhabited
    assert read_manifest(tmp_path / "fast").parameters == metrics["parameters"] == found.parameters
    assert metrics["predicted_speedup"] > 1.4
