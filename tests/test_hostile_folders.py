"""Folders made to harm are refused in one line and quickly, and nothing in them is run or opened elsewhere."""

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
from safetensors.numpy import load_file as read_tensors

import compress
from compress.errors import CompressError
from compress.folder import MANIFEST, read_manifest, write_manifest
from compress.modeling.checkpoint import load_classifier
from compress.runtime.graph_file import FP32_GRAPH
from tests.odd import refusal
from tests.tiny import STORED_RUN

Harm = Callable[[Path], object]
MOST_OF_LOADING = 100.0  # CPU time against that of loading an unharmed tiny folder; the largest file here has 10 MB


def manifest(change: Callable[[dict[str, Any]], object]) -> Harm:
    def harm(folder: Path) -> None:
        raw = json.loads((folder / MANIFEST).read_bytes())
        change(raw)
        (folder / MANIFEST).write_text(json.dumps(raw), encoding="utf-8")

    return harm


def resealed(change: Harm) -> Harm:
    """With right digests, as one has who makes the folder."""

    def harm(folder: Path) -> None:
        found = read_manifest(folder)
        change(folder)
        write_manifest(folder, found)

    return harm


def graph(change: Callable[[onnx.ModelProto], object]) -> Harm:
    def harm(folder: Path) -> None:
        model = onnx.load(folder / FP32_GRAPH)
        change(model)
        (folder / FP32_GRAPH).write_bytes(model.SerializeToString())

    return resealed(harm)


def external(location: str) -> Harm:
    def move(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return graph(move)


def node(kind: str, domain: str) -> Harm:
    """A node of another domain before all others."""

    def insert(model: onnx.ModelProto) -> None:
        model.opset_import.add(domain=domain, version=1)
        model.graph.node.insert(0, onnx.helper.make_node(kind, ["input_ids"], ["harm"], domain=domain))

    return graph(insert)


def nested(model: onnx.ModelProto) -> None:
    """Graphs in graphs, as deep as protobuf lets them be written."""
    inner = onnx.helper.make_graph([], "inner", [], [])
    for _ in range(25):
        branch: dict[str, Any] = {"then_branch": inner}
        inner = onnx.helper.make_graph([onnx.helper.make_node("If", ["c"], ["d"], **branch)], "inner", [], [])
    model.graph.node.insert(0, inner.node[0])


def no_tokenizer(but: Callable[[Path], object]) -> Harm:
    """Something else in its place."""

    def harm(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        but(folder / "tokenizer.json")

    return harm


def content(name: str, what: bytes) -> Harm:
    return resealed(lambda folder: (folder / name).write_bytes(what))


DEEP = b'{"a":' * 100_000
WHOLE, LOAD, MISSING, DAMAGED = "not a whole ONNX file", "cannot load it", "tokenizer.json: missing", "damaged ("
# Each harm with words that its refusal must have.
ONNX: dict[str, tuple[Harm, str]] = {
    **{f"weights in {name!r}": (external(name), f"its weights are in {name!r}, {where}") for name, where in (
        ("../../secret", "outside"), ("/etc/passwd", "outside"), ("model.onnx_data", "beside"),
        ("sub/../../../x", "outside"), ("/dev/zero", "outside"), (".", "beside"), ("", "beside"),
    )},
    **{f"a node {kind} of {domain!r}": (node(kind, domain), LOAD) for kind, domain in (
        ("PyOp", "ai.onnx.contrib"), ("Run", "evil"), ("PythonOp", "com.microsoft"), ("NoSuchOp", "")
    )},
    "another maker": (graph(lambda model: setattr(model, "producer_name", "evil")), "made by evil"),
    "a later IR": (graph(lambda model: setattr(model, "ir_version", 99)), "IR version 99"),
    "nested graphs": (graph(nested), LOAD),
    "another input": (graph(lambda model: setattr(model.graph.input[0], "name", "secret")), LOAD),
    "no nodes": (graph(lambda model: model.graph.ClearField("node")), LOAD),
    "a graph of numbers": (content(FP32_GRAPH, b"\xff" * 10_000_000), WHOLE),
    "a graph of fields": (content(FP32_GRAPH, b"\x08\x01" * 5_000_000), WHOLE),
    "a graph that is a pickle": (content(FP32_GRAPH, pickle.dumps(print)), WHOLE),
    "an empty graph": (content(FP32_GRAPH, b""), "is empty"),
    "a deep tokenizer": (content("tokenizer.json", DEEP), "is no tokenizer"),
    "an empty tokenizer": (content("tokenizer.json", b""), "is no tokenizer"),
    "a tokenizer that is a pickle": (content("tokenizer.json", pickle.dumps(print)), "is no tokenizer"),
    "a deep config": (content("config.json", DEEP), "its id2label are not the labels"),
    "a deep manifest": (lambda folder: (folder / MANIFEST).write_bytes(DEEP), "too deeply nested"),
    "an endless manifest": (lambda folder: (folder / MANIFEST).write_bytes(b"[" * 5_000_000), "too deeply nested"),
    "a manifest of pickle": (lambda folder: (folder / MANIFEST).write_bytes(pickle.dumps(print)), DAMAGED),
    "no labels": (manifest(lambda raw: raw.update(labels=[])), f"{DAMAGED}labels is"),
    "a kind of its own": (manifest(lambda raw: raw.update(kind="pickle")), f"{DAMAGED}kind is"),
    "a task of its own": (manifest(lambda raw: raw.update(task="run")), f"{DAMAGED}task is"),
    "no length": (manifest(lambda raw: raw.update(max_length=0)), f"{DAMAGED}max_length is"),
    "an endless length": (manifest(lambda raw: raw.update(max_length=10**30)), f"{DAMAGED}max_length is"),
    "a link to a device": (no_tokenizer(lambda file: file.symlink_to("/dev/zero")), MISSING),
    "a link to itself": (no_tokenizer(lambda file: file.symlink_to(file.name)), MISSING),
    "a link elsewhere": (no_tokenizer(lambda file: file.symlink_to("/etc/passwd")), "tokenizer.json: has"),
    "a link to a folder": (no_tokenizer(lambda file: file.symlink_to("/")), MISSING),
    "a pipe": (no_tokenizer(os.mkfifo), MISSING),
}  # fmt: skip


class Evil:
    """Code that a pickle runs."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def code(name: str, **config: Any) -> Harm:
    """A plain checkpoint with code of its own beside it."""

    def harm(folder: Path) -> None:
        (folder / "evil.py").write_text(f"import os\nos.mkdir({str(canary(folder))!r})\n", encoding="utf-8")
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_bytes()) | config), encoding="utf-8")

    return unmarked(harm)


def unmarked(change: Harm) -> Harm:
    """As a folder that others made."""

    def harm(folder: Path) -> None:
        (folder / MANIFEST).unlink()
        change(folder)

    return harm


def pickled(name: str) -> Harm:
    def harm(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Evil(canary(folder))))

    return unmarked(harm)


def sharded(place: Callable[[Path], Path | str]) -> Harm:
    """The weights lie elsewhere, and an index names them there."""

    def harm(folder: Path) -> None:
        weights = folder / "model.safetensors"
        index = {"metadata": {}, "weight_map": dict.fromkeys(read_tensors(weights), str(place(folder.parent)))}
        weights.rename(folder.parent / "secret.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    return unmarked(harm)


OUTSIDE, NETWORK = "which lies outside the folder", "its network cannot be loaded"
TORCH: dict[str, tuple[Harm, str]] = {
    "an unknown class": (code("config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"}), "auto_map"),
    "pickled weights": (pickled("pytorch_model.bin"), NETWORK),
    "pickled parts": (pickled("model.safetensors.index.json"), "has no table weight_map"),
    "parts above the folder": (sharded(lambda _: "../secret.safetensors"), OUTSIDE),
    "parts anywhere": (sharded(lambda place: place / "secret.safetensors"), OUTSIDE),
    "weights that are a pickle": (pickled("model.safetensors"), NETWORK),
    "a deep config": (
        unmarked(lambda folder: (folder / "config.json").write_bytes(DEEP)),
        "its config cannot be loaded",
    ),
}


def canary(folder: Path) -> Path:
    return folder.parent / "canary"


def answered(folder: str) -> object:
    return compress.load(folder, threads=1)("a film")


@cache
def loading_s(load: Callable[[str], object], whole: str) -> float:
    """CPU time of the second loading: the first one imports."""
    load(whole)
    before = time.process_time()
    load(whole)
    return time.process_time() - before


def refused(words: str, load: Callable[[str], object], folder: Path, whole: Path) -> None:
    limit_s = MOST_OF_LOADING * loading_s(load, str(whole))
    before = time.process_time()
    with pytest.raises(CompressError) as found:
        load(str(folder))
    assert time.process_time() - before < limit_s
    assert refusal(found.value, [words]) == "refused"
    assert not canary(folder).exists()


@pytest.mark.parametrize(("harm", "words"), ONNX.values(), ids=ONNX)
def test_a_hostile_onnx_folder_is_refused(harm: Harm, words: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"0")
    shutil.copytree(STORED_RUN / "onnx", tmp_path / "model")
    harm(tmp_path / "model")
    refused(words, answered, tmp_path / "model", STORED_RUN / "onnx")


@pytest.mark.parametrize(("harm", "words"), TORCH.values(), ids=TORCH)
def test_a_hostile_checkpoint_is_refused(harm: Harm, words: str, tmp_path: Path) -> None:
    shutil.copytree(STORED_RUN / "teacher", tmp_path / "model")
    harm(tmp_path / "model")
    refused(words, load_classifier, tmp_path / "model", STORED_RUN / "teacher")


def test_there_are_as_many_as_was_promised() -> None:
    assert len(ONNX) + len(TORCH) >= 40
