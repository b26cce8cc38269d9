"""A trained classifier with one layer of each kind: how many there are makes quantizing longer, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

import compress


@pytest.fixture(scope="session")
def two_layers(
    tiny_encoder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory, once: Callable[..., Path]
) -> Path:
    """A whole one and the last, which is computed for the first token alone."""
    from transformers import BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder of two layers")
    BertModel.from_pretrained(tiny_encoder, num_hidden_layers=2).save_pretrained(folder)
    BertTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
    settings = {"epochs": 3, "learning_rate": 1e-3, "precision": "fp32"}
    return once("two-layers", compress.finetune, folder, tiny_data, **settings)


@pytest.fixture(scope="session")
def two_layers_onnx(two_layers: Path, once: Callable[..., Path]) -> Path:
    """The export of ``two_layers``."""
    return once("two-layers-onnx", compress.export, two_layers)
