"""Layouts for servers: every file where the server looks, and no two layouts at once."""

import json
from pathlib import Path

import onnxruntime as ort
import pytest

import compress
from compress.cli.main import main
from compress.errors import CompressError
from compress.folder import read_manifest

GRAPHS = {
    "tiny_onnx": "onnx/model.onnx",
    "tiny_int8": "onnx/model_quantized.onnx",
    "tiny_static": "onnx/model_quantized.onnx",
}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("model", GRAPHS)
def test_tei_finds_what_its_router_and_its_ort_backend_read(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    parent, out = request.getfixturevalue(model), tmp_path / "tei"
    assert main(["export", str(parent), "--for", "tei", "--out", str(out)]) == 0
    side_files = {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    ours = {"README.md", "compress.json"}
    assert files_of(out) == {"onnx/model.onnx", "sentence_bert_config.json"} | side_files | ours
    assert (out / "onnx/model.onnx").read_bytes() == (parent / GRAPHS[model]).read_bytes()
    for name in side_files:
        assert (out / name).read_bytes() == (parent / name).read_bytes()
    # router/src/lib.rs: ModelConfig and STConfig; backends/ort/src/lib.rs: Config.
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"][0].endswith("Classification")
    assert all(isinstance(label, str) and index.isdecimal() for index, label in config["id2label"].items())
    assert all(isinstance(index, int) for index in config["label2id"].values())
    needed = ("max_position_embeddings", "hidden_size", "num_hidden_layers", "pad_token_id")
    assert all(isinstance(config[name], int) for name in needed)
    limits = json.loads((out / "sentence_bert_config.json").read_text())
    assert limits["max_seq_length"] == read_manifest(parent).max_length < config["max_position_embeddings"] + 1


@pytest.mark.parametrize("model", GRAPHS)
def test_triton_finds_a_model_repository(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    parent, out = request.getfixturevalue(model), tmp_path / "triton"
    compress.export(parent, out, for_="triton")
    inside = {path.name for path in (out / "classifier").iterdir()}
    assert {path.name for path in out.iterdir()} == {"classifier", "README.md", "compress.json"}
    assert inside == {"1", "config.pbtxt", "labels.txt", "config.json", "tokenizer.json"} | {
        "tokenizer_config.json",
        "vocab.txt",
    }
    assert (out / "classifier/1/model.onnx").read_bytes() == (parent / GRAPHS[model]).read_bytes()
    assert (out / "classifier/labels.txt").read_text() == "negative\npositive\n"
    config = (out / "classifier/config.pbtxt").read_text()
    session = ort.InferenceSession(out / "classifier/1/model.onnx", providers=["CPUExecutionProvider"])
    for value in session.get_inputs():
        assert f'name: "{value.name}" data_type: TYPE_INT64 dims: [ -1 ]' in config
    assert 'name: "logits" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt"' in config
    assert ("dynamic_batching {" in config) == (model != "tiny_int8")


def test_layouts_for_others_are_not_loaded_and_say_why(tiny_int8: Path, tmp_path: Path) -> None:
    compress.export(tiny_int8, tmp_path / "tei", for_="tei")
    assert read_manifest(tmp_path / "tei").kind == "tei"
    with pytest.raises(CompressError, match="laid out for others"):
        compress.load(tmp_path / "tei")
    with pytest.raises(CompressError, match="holds an ONNX model"):
        compress.export(tmp_path / "tei", tmp_path / "again", for_="triton")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--for", "tei", "--single-file"], "writes --single-file or --for tei, not both"),
        (["--for", "onnx"], "export.for should be 'tei' or 'triton', got onnx"),
        ([], "holds an ONNX model; this step needs the torch folder"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(
    arguments: list[str], words: str, tiny_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tiny_int8), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
