"""The manifest: any change to it is noticed, its values have types, and nothing that it does not list is opened."""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, read_manifest, write_manifest
from compress.modeling.checkpoint import load_classifier
from compress.runtime.graph_file import FP32_GRAPH, INT8_GRAPH

ABOUT = Manifest("onnx", "single_label", ("a", "ü"), 64, 1234, ({"step": "finetune", "metrics": {"accuracy": 0.5}},))
SEAL = "manifest_sha256"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    write_manifest(tmp_path, ABOUT)
    return tmp_path


def as_before(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the manifest as earlier versions did, without a digest of itself, and with a change."""
    raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    raw.pop(SEAL, None)
    change(raw)
    (folder / MANIFEST).write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(CompressError) as refused:
        read_manifest(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_no_change_of_a_byte_passes(folder: Path) -> None:
    path, rng = folder / MANIFEST, random.Random(0)
    whole = path.read_bytes()
    for at in range(len(whole)):
        other = bytes([rng.choice([*(set(range(256)) - {whole[at]})])])
        new = rng.choice([other, b"", whole[at : at + 1] * 2])  # changed, lost, doubled
        path.write_bytes(whole[:at] + new + whole[at + 1 :])
        if path.read_bytes() != whole:  # two equal bytes, of which one went
            assert str(path) in refusal(folder)
    path.write_bytes(whole)
    assert read_manifest(folder).labels == ABOUT.labels


def test_a_folder_of_an_earlier_version_is_read(folder: Path) -> None:
    expected = read_manifest(folder)
    as_before(folder, dict.copy)
    assert read_manifest(folder) == expected


WRONG: dict[str, list[object]] = {
    "kind": [None, "pickle", 3, ["onnx"], {}],
    "task": [None, "regression", 3, [], {}],
    "labels": [None, [], "ab", ["a", "a"], ["a", 3], [["a"]], {"a": 0}, ["\ud800"]],
    "max_length": [None, 0, -1, 3, 64.5, 3.0, float("inf"), "64", True, [64]],
    "parameters": [None, -1, 0.5, "many"],
    "history": [None, {}, "finetune", [3], [[]]],
    "files": [None, {}, ["vocab.txt"], [{"name": "vocab.txt"}], [{"name": 3, "bytes": 6, "sha256": "0"}],
              [{"name": "a\0b", "bytes": 6, "sha256": "0"}], [{"name": "v", "bytes": -1, "sha256": "0"}]],
    "format_version": [None, 0, "1", 1.0, True],
}  # fmt: skip


@pytest.mark.parametrize(("entry", "value"), [(entry, value) for entry, values in WRONG.items() for value in values])
def test_a_value_of_another_type_is_refused_by_the_name_of_its_entry(entry: str, value: object, folder: Path) -> None:
    as_before(folder, lambda raw: raw.update({entry: value}))
    assert re.fullmatch(rf"{folder / MANIFEST}: damaged \(.*{entry}.*\); make the folder again", refusal(folder))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"note": "ours", "later": [1]}, {}),
        ({"max_length": 64.0}, {}),
        ({"labels": ["", "ü"]}, {"labels": ("", "ü")}),
    ],
)
def test_what_harms_nothing_is_read(more: dict[str, Any], expected: dict[str, Any], folder: Path) -> None:
    whole = read_manifest(folder)
    as_before(folder, lambda raw: raw.update(more))
    read = read_manifest(folder)
    assert read == replace(whole, **expected)
    assert isinstance(read.max_length, int)


def test_a_later_version_may_say_more_of_a_file(folder: Path) -> None:
    whole = read_manifest(folder)
    as_before(folder, lambda raw: raw["files"][0].update(role="vocabulary"))
    assert read_manifest(folder) == whole


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "a/../../secret",
        "..",
        "/etc/passwd",
        "..\\secret",
        "a\\..\\..\\secret",
        "C:\\secret",
        "\\\\server\\share",
    ],
)
def test_a_manifest_cannot_point_elsewhere(name: str, folder: Path) -> None:
    as_before(folder, lambda raw: raw["files"][0].update(name=name))
    assert f"lists {name}, which lies outside the folder; do not use it" in refusal(folder)


@pytest.mark.parametrize("wrong", [{"labels": ()}, {"labels": ("\ud800",)}, {"max_length": 2}])
def test_nothing_is_written_that_cannot_be_read(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=next(iter(wrong))):
        write_manifest(tmp_path, replace(ABOUT, **wrong))
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("content", ["", "[]", "3", "null", '{"format_version": 1}', "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_manifest_is_refused(content: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(content, encoding="utf-8")
    assert refusal(folder).startswith(f"{folder / MANIFEST}: damaged (")


def test_a_newer_manifest_asks_for_an_upgrade(folder: Path) -> None:
    as_before(folder, lambda raw: raw.update(format_version=2, kind={"of": "another"}))
    assert refusal(folder).endswith("format_version 2 is newer than this package reads; upgrade compress")


def test_a_graph_that_is_not_listed_is_never_taken(tiny_onnx: Path, tiny_int8: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_onnx, model)
    expected = compress.load(tiny_onnx, threads=1).logits(["a superb film"]).tolist()
    shutil.copyfile(tiny_int8 / INT8_GRAPH, model / INT8_GRAPH)
    with compress.load(model, threads=1) as classifier:
        assert classifier.precision == "fp32"
        assert classifier.logits(["a superb film"]).tolist() == expected
    for_tei: dict[str, Any] = {"for": "tei"}
    compress.export(model, tmp_path / "tei", **for_tei)
    assert (tmp_path / "tei" / FP32_GRAPH).read_bytes() == (tiny_onnx / FP32_GRAPH).read_bytes()


def test_a_tokenizer_that_is_not_listed_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_onnx, model)
    as_before(model, lambda raw: raw.update(files=[f for f in raw["files"] if f["name"] != "tokenizer.json"]))
    with pytest.raises(CompressError, match=r"tokenizer.json: is not in compress.json's list"):
        compress.load(model)


@pytest.mark.parametrize(
    "name", ["added_tokens.json", "pytorch_model.bin", "model.safetensors.index.json", "vocab.json"]
)
def test_what_lies_beside_a_pytorch_model_and_could_change_it_is_refused(
    name: str, tiny_torch: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_torch, model)
    for harmless in ("notes.md", "handler.py", "training_args.bin", "all_results.json", "._config.json"):
        (model / harmless).write_text("what I did\n")
    load_classifier(str(model))
    (model / name).write_text("{}")
    with pytest.raises(CompressError, match=rf"{name}: compress.json does not list it"):
        load_classifier(str(model))


@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.parametrize("labels", [("positive", "negative"), ("negative",), ("negative", "other", "positive")])
def test_labels_are_those_of_the_head(
    kind: str, labels: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(f"tiny_{kind}"), model)
    write_manifest(model, replace(read_manifest(model), labels=labels))
    with pytest.raises(CompressError, match=r"config.json: its id2label are not the labels in compress.json"):
        (compress.load if kind == "onnx" else load_classifier)(str(model))


def test_a_model_says_nothing_of_where_it_was_made_and_everybody_may_read_it(tiny_torch: Path, tmp_path: Path) -> None:
    """Equal models have equal files, however the command named them."""
    for name in ("one", "deep/er"):
        shutil.copytree(tiny_torch, tmp_path / name / "model")
        compress.export(tmp_path / name / "model", tmp_path / name / "onnx", threads=1)
    one, other = (read_manifest(tmp_path / name / "onnx") for name in ("one", "deep/er"))
    assert one.digest == other.digest
    for path in (*tiny_torch.rglob("*.*"), *(tmp_path / "one" / "onnx").rglob("*.*")):
        assert path.stat().st_mode == (tiny_torch / MANIFEST).stat().st_mode, path
