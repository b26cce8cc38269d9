"""Models as others save them."""

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification


@pytest.fixture
def plain_folder(tiny_encoder: Path) -> Callable[..., Path]:
    """Save a model as Hugging Face users do: ``save_pretrained`` and a tokenizer, nothing of ours."""

    def save(folder: Path, model: "BertForSequenceClassification", labels: tuple[str, ...] | None) -> Path:
        if labels is not None:
            model.config.id2label = dict(enumerate(labels))
            model.config.label2id = {label: index for index, label in enumerate(labels)}
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            copyfile(tiny_encoder / name, folder / name)
        return folder

    return save
