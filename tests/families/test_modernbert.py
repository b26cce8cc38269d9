"""ModernBERT: what it has and no other family."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, ModernBertConfig, ModernBertForMaskedLM

import compress
from compress.benchmark.backends.varlen_backend import VarlenBackend
from compress.errors import CompressError
from compress.families.modernbert import MODERNBERT
from compress.families.view import EncoderView
from compress.modeling.checkpoint import load_classifier, load_for_finetuning
from compress.modeling.reading import read_config
from compress.modeling.surgery import cut_model
from compress.modeling.widths import Cut, Widths
from tests.families.models import UNEVEN, make_model, settings_of
from tests.families.test_families import assert_parity, assert_reloads, logits_of
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


@pytest.mark.parametrize("settings", [{}, BIASED | {"classifier_pooling": "mean"}], ids=["plain", "biased"])
def test_without_its_first_layer_the_next_keeps_its_norm_and_its_window(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    model, layers_gone = (make_model(MODERNBERT, UNEVEN, **settings) for _ in range(2))
    view = EncoderView(layers_gone)
    view.stack = [view.stack[index] for index in (2, 3)]
    pruned = cut_model(model, Cut.whole_layers([2, 3], UNEVEN))
    assert np.abs(logits_of(pruned, MODERNBERT) - logits_of(layers_gone, MODERNBERT)).max() < 1e-5
    assert pruned.config.layer_types == ["sliding_attention", "full_attention"]
    assert_reloads(pruned, MODERNBERT, tmp_path)
    assert_parity(pruned, MODERNBERT)


@pytest.fixture(scope="module")
def teacher(tiny_encoder: Path, tiny_data: Path, few_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its head reads the mean of all tokens."""
    folder = tmp_path_factory.mktemp("modernbert")
    make_encoder("modernbert", tiny_encoder, tiny_data, folder / "encoder")
    config = AutoConfig.from_pretrained(folder / "encoder")
    config.classifier_pooling = "mean"
    config.save_pretrained(folder / "encoder")
    compress.finetune(folder / "encoder", few_data, folder / "teacher", epochs=5, eval_steps=8, **TRAINING)
    return folder / "teacher"


def test_students_without_the_first_layer_are_saved_served_and_pruned(
    teacher: Path, tiny_data: Path, few_data: Path, tmp_path: Path
) -> None:
    compress.distill(teacher, few_data, tmp_path / "student", layers=[1], epochs=5, hidden_weight=0.1, **TRAINING)
    compress.prune(tmp_path / "student", few_data, tmp_path / "pruned", heads=0.5, ffn=0.5, epochs=0, **TRAINING)
    assert Widths.of(load_classifier(str(tmp_path / "pruned")).model) == Widths((2,), (64,))
    compress.export(tmp_path / "pruned", tmp_path / "onnx", threads=1)
    assert accuracy(tmp_path / "onnx", tiny_data) > 0.7


def test_a_pretrained_model_gives_all_but_its_decoder(teacher: Path, tmp_path: Path) -> None:
    copytree(teacher, tmp_path, dirs_exist_ok=True, ignore=lambda *_: ["compress.json", "model.safetensors"])
    config = AutoConfig.from_pretrained(teacher)
    pretrained = ModernBertForMaskedLM(config)
    pretrained.save_pretrained(tmp_path)
    found = load_for_finetuning(str(tmp_path), "single_label", ("a", "b", "c"), seed=0)
    assert "had none" in found.head
    assert torch.equal(found.model.get_parameter("head.dense.weight"), pretrained.head.dense.weight)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"classifier_activation": "silu"}, "the activation of its head is silu, .* gelu_pytorch_tanh, relu can"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rotary positions are scaled .rope_type linear."),
    ],
)
def test_what_no_graph_has_is_refused(settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    ModernBertConfig(**settings_of(MODERNBERT) | settings).save_pretrained(tmp_path)
    with pytest.raises(CompressError, match=rf"^{tmp_path}: .*{reason}"):
        read_config(str(tmp_path))


def test_queries_and_rows_without_padding_are_refused(teacher: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=r"(query|key)\.\d: a ModernBERT computes query, key and value together"):
        compress.distill(teacher, tiny_data, tmp_path / "student", attention_weight=1.0, **TRAINING)
    with pytest.raises(CompressError, match="torch-varlen: has no ModernBERT"):
        VarlenBackend(load_classifier(str(teacher)), "cpu", "fp32")
