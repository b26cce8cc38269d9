"""The files around the graph, under the names and in the places where other runtimes look for them."""

import json
import shutil
from pathlib import Path

from compress.families import family_of
from compress.folder import Manifest, write_manifest
from compress.modeling.checkpoint import Checkpoint, save_tokenizer, set_label_config
from compress.modeling.pruned import PRUNED_SETTINGS
from compress.packaging.card import model_card
from compress.runtime.graph_file import graph_inputs

_SIDE_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def write_side_files(checkpoint: Checkpoint, folder: Path) -> None:
    """config.json and the tokenizer's files, from a PyTorch checkpoint.

    The config names the family's own class even where layers differ in width: the graph holds the widths, and clients
    such as transformers.js and optimum only look up whether they know the model type.
    """
    config = checkpoint.model.config
    set_label_config(config, checkpoint)
    settings = {name: value for name, value in config.to_dict().items() if name not in PRUNED_SETTINGS}
    family = family_of(config)
    settings |= {"model_type": family.model_type, "architectures": [family.classifier]}
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_tokenizer(checkpoint, folder)


def copy_side_files(parent: Path, folder: Path) -> None:
    """The same files, from another ONNX folder."""
    for name in _SIDE_FILES:
        shutil.copyfile(parent / name, folder / name)


def finish_onnx_folder(folder: Path, name: str, manifest: Manifest) -> Manifest:
    """The model card under the folder's final ``name``, then the manifest, last."""
    inputs = graph_inputs(next(folder.rglob("*.onnx")))
    config = next(folder.rglob("config.json"), None)  # a single file has none
    model_type = json.loads(config.read_text(encoding="utf-8"))["model_type"] if config else None
    (folder / "README.md").write_text(model_card(name, manifest, inputs, model_type), encoding="utf-8")
    return write_manifest(folder, manifest)
