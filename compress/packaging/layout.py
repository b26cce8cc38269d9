"""Exported folders: the files around a graph, and other layouts, as a single file or for a server."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import helper
from tokenizers import Tokenizer

from compress.errors import CompressError
from compress.families import family_of
from compress.folder import LARGE, SMALL, Manifest, peek, read_part, write_manifest
from compress.graph.cascade import join
from compress.graph.with_tokenizer import with_tokenizer
from compress.modeling.checkpoint import Checkpoint, save_tokenizer, set_label_config
from compress.modeling.pruned import PRUNED_SETTINGS
from compress.packaging.card import model_card
from compress.packaging.cascade import cascade_card
from compress.runtime.encoding import side_of
from compress.runtime.graph_file import FP32_GRAPH, OUTPUT, activations_of, graph_inputs, graphs_of, operators
from compress.templates import fill

DECISION = "decision"  # a key of config.json, and of a single file's metadata
_SIDE_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def write_side_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Write config.json and the tokenizer's files, from a PyTorch checkpoint.

    The config names the family's own class even where layers differ in width: the graph holds the widths, and clients
    such as transformers.js and optimum only look up whether they know the model type. It does not name the folder that
    the checkpoint came from: equal models have equal files, wherever they were made.
    """
    config = checkpoint.model.config
    set_label_config(config, checkpoint)
    left_out = {*PRUNED_SETTINGS, "_name_or_path"}
    settings = {name: value for name, value in config.to_dict().items() if name not in left_out}
    family = family_of(config)
    settings |= {"model_type": family.model_type, "architectures": [family.classifier]}
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_tokenizer(checkpoint, folder)


def copy_side_files(parent: Path, folder: Path) -> None:
    """Copy config.json and the tokenizer's files from another ONNX folder; not all tokenizers have a ``vocab.txt``."""
    manifest = peek(parent)
    for name in _SIDE_FILES:
        if name != "vocab.txt" or (manifest and name in manifest.names):  # WordPiece alone has one
            shutil.copyfile(parent / name, folder / name)


def set_decision(folder: Path, decision: Mapping[str, Any] | None) -> None:
    """Write what calibrate chose into the folder's config.json, for clients other than ours; None removes it."""
    path = folder / "config.json"
    config = {name: value for name, value in json.loads(path.read_bytes()).items() if name != DECISION}
    config |= {} if decision is None else {DECISION: decision}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def finish_onnx_folder(folder: Path, name: str, manifest: Manifest) -> Manifest:
    """Write the model card, with the folder's final ``name``, and then the manifest, last."""
    card = cascade_card(name, manifest) if manifest.is_cascade else _card(folder, name, manifest)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return write_manifest(folder, manifest)


def _card(folder: Path, name: str, manifest: Manifest) -> str:
    inputs = graph_inputs(next(folder.rglob("*.onnx")))
    config = next(folder.rglob("config.json"), None)  # a single file has none
    model_type = json.loads(config.read_text(encoding="utf-8"))["model_type"] if config else None
    return model_card(name, manifest, inputs, model_type, _truncation_side(folder))


def _truncation_side(folder: Path) -> str:
    """The side on which the folder's tokenizer cuts texts; a single file says it of the tokenizer inside."""
    for tokenizer in folder.rglob("tokenizer.json"):
        return side_of(Tokenizer.from_file(str(tokenizer)))
    about = {entry.key: entry.value for entry in onnx.load(folder / "model.onnx").metadata_props}
    return str(about["truncation_side"])


def single_file(parent: Path, manifest: Manifest, folder: Path) -> Path:
    """Write a single ONNX file with the tokenizer inside, and both networks of a cascade.

    Where calibrate chose thresholds, or a score to abstain below, the metadata's ``decision`` has them for the client;
    the graph itself always answers.
    """
    if not manifest.is_cascade:
        network, home = onnx.load(graph_to_lay_out(parent)), parent
    else:
        network, home = joined_network(parent, manifest), parent / LARGE
    tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
    model = with_tokenizer(network, tokenizer, manifest)
    about = {"task": manifest.task, "labels": json.dumps(manifest.labels, ensure_ascii=False)}
    limits = {"max_length": str(manifest.max_length), "truncation_side": side_of(tokenizer)}
    left_to_the_client = manifest.decision is not None and not manifest.is_cascade  # whose graph decides itself
    decision = {DECISION: json.dumps(manifest.decision, ensure_ascii=False)} if left_to_the_client else {}
    helper.set_model_props(model, about | limits | decision)
    graph = folder / "model.onnx"
    onnx.save(model, graph)
    return graph


def tei(parent: Path, manifest: Manifest, folder: Path) -> Path:
    """Write a folder for Hugging Face's text-embeddings-inference (``--model-id DIR``), in its builds for CPUs.

    The server reads ``onnx/model.onnx`` whatever the precision, ``config.json`` for the labels, ``tokenizer.json``; and
    from sentence-transformers' file the length at which texts are cut, else it would be the position table's.
    """
    graph = folder / FP32_GRAPH
    graph.parent.mkdir()
    shutil.copyfile(graph_to_lay_out(parent), graph)
    copy_side_files(parent, folder)
    limits = {"max_seq_length": manifest.max_length, "do_lower_case": False}  # the tokenizer lower-cases by itself
    (folder / "sentence_bert_config.json").write_text(json.dumps(limits, indent=2) + "\n", encoding="utf-8")
    return graph


def triton(parent: Path, manifest: Manifest, folder: Path) -> Path:
    """Write a model repository for NVIDIA's Triton; its only model may be renamed or moved to another repository."""
    model, source = folder / "classifier", graph_to_lay_out(parent)
    graph = model / "1" / "model.onnx"
    graph.parent.mkdir(parents=True)
    shutil.copyfile(source, graph)
    copy_side_files(parent, model)
    (model / "labels.txt").write_text("".join(f"{label}\n" for label in manifest.labels), encoding="utf-8")
    alone = activations_of(operators(source)) == "dynamic"
    config = fill(
        "compress.packaging",
        "config.pbtxt.j2",
        manifest=manifest,
        inputs=graph_inputs(graph),
        output=OUTPUT,
        alone=alone,
    )
    (model / "config.pbtxt").write_text(config, encoding="utf-8")
    return graph


def joined_network(parent: Path, manifest: Manifest) -> onnx.ModelProto:
    """Both networks of a cascade in one graph; they must read the same token ids."""
    small, large = (read_part(parent, manifest, name) for name in (SMALL, LARGE))
    texts = [(parent / name / "tokenizer.json").read_bytes() for name in (SMALL, LARGE)]
    if texts[0] != texts[1] or small.max_length != large.max_length or small.long_texts or large.long_texts:
        raise CompressError(
            f"{parent}: its two models have other tokenizers, cut texts at other lengths, or read more of a text than "
            "its beginning, so one file cannot hold both; export each, small and large, by itself"
        )
    first, second = (onnx.load(graph_to_lay_out(parent / name)) for name in (SMALL, LARGE))
    return join(first, second, manifest.hand_on_below or 0, [small.labels.index(label) for label in large.labels])


def graph_to_lay_out(parent: Path) -> Path:
    """The int8 graph of a folder that has one, else the fp32 one."""
    graphs = graphs_of(parent)
    if graph := graphs.get("int8") or graphs.get("fp32"):
        return graph
    raise CompressError(f"{parent}: has no fp32 or int8 graph to lay out; give the fp32 ONNX folder, int8 or PyTorch")


# (ONNX folder of ours, its manifest, folder to write into) -> the graph that was written.
PACKAGES: Mapping[str, Callable[[Path, Manifest, Path], Path]] = {
    "single_file": single_file,
    "tei": tei,
    "triton": triton,
}
