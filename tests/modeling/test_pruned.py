"""A pruned model on disk: whole, without pickle, and readable by the Auto classes in any order of imports."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.families.bert import BERT
from compress.modeling.checkpoint import load_classifier, save_checkpoint
from compress.modeling.pruned import pruned_config
from tests.processes import forget, in_fork
from tests.tiny import make_bert, make_checkpoint, make_feeds, same_weights, torch_logits, weights_of

HEADS, NEURONS = (4, 0, 1, 3), (128, 32, 0, 64)

AUTO = "from transformers import AutoModelForSequenceClassification, AutoConfig"
IMPORTS = (f"import compress; {AUTO}", f"{AUTO}; import compress")
MORE_IMPORTS = f"import compress; import transformers.models.bert; {AUTO}"


def reload(imports: str, folder: Path, expected: Path) -> int:
    """As in a process that begins with these imports: both packages are forgotten first."""
    forget("compress", "transformers")
    torch.set_num_threads(1)
    names: dict[str, Any] = {}
    exec(imports, names)
    config = names["AutoConfig"].from_pretrained(folder)
    assert (config.model_type, config.heads_per_layer) == ("pruned_bert", list(HEADS)), config
    model = names["AutoModelForSequenceClassification"].from_pretrained(folder)
    weights = load_file(expected)
    inputs = {name: weights.pop(name) for name in ("input_ids", "attention_mask", "token_type_ids")}
    logits = weights.pop("logits")
    assert type(model).__name__ == "PrunedBertForSequenceClassification", type(model)
    assert same_weights(model.state_dict(), weights)
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, logits)
    return 0


@pytest.fixture
def saved(tiny_encoder: Path, tmp_path: Path) -> Path:
    """The folder of a pruned model; beside it what it must answer."""
    model = make_bert(HEADS, NEURONS, labels=3)
    save_checkpoint(make_checkpoint(tiny_encoder, model, ("a", "b", "c")), tmp_path / "model")
    feeds = make_feeds(3, 12, padded=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logits = torch.from_numpy(torch_logits(model, feeds))
    torch.set_num_threads(threads)
    inputs = {name: torch.from_numpy(array) for name, array in feeds.items()}
    save_file({**weights_of(model), **inputs, "logits": logits}, tmp_path / "expected.safetensors")
    return tmp_path / "model"


@pytest.mark.parametrize("imports", [*IMPORTS, pytest.param(MORE_IMPORTS, marks=pytest.mark.slow)])
def test_a_pruned_model_is_reloaded_bit_for_bit_whatever_is_imported_first(
    saved: Path, imports: str, tmp_path: Path
) -> None:
    child = in_fork(lambda: reload(imports, saved, tmp_path / "expected.safetensors"), tmp_path / "told")
    assert os.waitpid(child, 0)[1] == 0, (tmp_path / "told").read_text()


def test_the_folder_has_safetensors_and_no_pickle(saved: Path) -> None:
    assert {path.name for path in saved.rglob("*")} == {
        "compress.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }


def test_the_config_lists_every_layers_widths(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    assert config["model_type"] == "pruned_bert"
    assert config["architectures"] == ["PrunedBertForSequenceClassification"]
    assert (config["heads_per_layer"], config["neurons_per_layer"]) == (list(HEADS), list(NEURONS))
    assert config["attention_head_size"] == 16
    assert config["id2label"] == {"0": "a", "1": "b", "2": "c"}
    assert config["label2id"] == {"a": 0, "b": 1, "c": 2}


def test_a_checkpoint_comes_back_as_it_was_saved(saved: Path, tiny_encoder: Path) -> None:
    checkpoint = load_classifier(str(saved))
    assert same_weights(weights_of(checkpoint.model), weights_of(make_bert(HEADS, NEURONS, labels=3)))
    assert (checkpoint.labels, checkpoint.task, checkpoint.max_length) == (("a", "b", "c"), "single_label", 128)
    again = save_checkpoint(checkpoint, saved.parent / "again")
    assert (saved.parent / "again" / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    assert again.digest == checkpoint.digest  # and so does every other file
    assert make_checkpoint(tiny_encoder, checkpoint.model, ("a", "b", "c")).parameters == again.parameters


@pytest.mark.parametrize("widths", [{"heads_per_layer": [4, 4]}, {"neurons_per_layer": [128] * 5}])
def test_widths_must_be_given_for_every_layer(widths: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="entry for each of 4 layers"):
        pruned_config(BERT)(num_hidden_layers=4, **widths)
