"""ModernBERT: what it has and no other family, and every step that it takes."""

from pathlib import Path
from typing import Any

import pytest

import compress
from compress.families.modernbert import MODERNBERT
from compress.modeling.checkpoint import load_classifier
from tests.families.models import make_model
from tests.families.test_families import assert_parity
from tests.families.test_steps import TRAINING, accuracy, make_encoder

BIASED: dict[str, Any] = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}


@pytest.mark.parametrize(
    "settings",
    [
        {"classifier_pooling": "mean", "num_labels": 3},
        BIASED | {"classifier_activation": "relu", "hidden_act": "gelu_pytorch_tanh"},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3, "classifier_pooling": "mean", "local_attention": 2},
    ],
)
def test_the_graph_follows_what_its_config_says(settings: dict[str, Any]) -> None:
    assert_parity(make_model(MODERNBERT, **settings), MODERNBERT)


@pytest.fixture(scope="module")
def teacher(tiny_encoder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modernbert")
    make_encoder("modernbert", tiny_encoder, tiny_data, folder / "encoder")
    compress.finetune(folder / "encoder", tiny_data, folder / "teacher", epochs=4, **TRAINING)
    return folder / "teacher"


def test_it_is_exported_quantized_served_and_measured(
    teacher: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compress.export(teacher, tmp_path / "onnx", threads=1)
    compress.export(teacher, tmp_path / "fp16", precision="fp16", threads=1)
    compress.quantize(tmp_path / "onnx", tiny_data, tmp_path / "int8", threads=1)
    compress.quantize(tmp_path / "onnx", tiny_data, tmp_path / "static", calibrate="percentile", threads=1)
    said = capsys.readouterr().err
    assert "warning" not in said, said
    for name in ("onnx", "fp16", "int8", "static"):
        assert accuracy(tmp_path / name, tiny_data) > 0.8, name
    shapes: dict[str, Any] = {"seconds": 0.1, "threads": [1], "length": [8], "batch": [1]}
    report = compress.bench([teacher, tmp_path / "onnx", tmp_path / "int8"], tiny_data, tmp_path / "report", **shapes)
    torch_model, graph, int8 = report.metrics["models"]
    assert torch_model["accuracy"]["value"] == graph["accuracy"]["value"]
    assert 0 < graph["cost"]["macs"] == int8["cost"]["macs"] <= torch_model["cost"]["macs"]


def test_a_student_of_some_layers_learns_from_logits(teacher: Path, tiny_data: Path, tmp_path: Path) -> None:
    compress.distill(teacher, tiny_data, tmp_path / "student", layers=1, epochs=3, hidden_weight=0.1, **TRAINING)
    assert load_classifier(str(tmp_path / "student")).model.config.layer_types == ["full_attention"]
    compress.export(tmp_path / "student", tmp_path / "onnx", threads=1)
    assert accuracy(tmp_path / "onnx", tiny_data) > 0.7
