"""export and quantize as steps: the folders that they leave, and when they leave none."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

import compress
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, load_classifier, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from tests.tiny import make_bert, make_checkpoint, parts, read

SIDE_FILES = {"README.md", "compress.json", "config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
GRAPHS = {"onnx": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}


@pytest.fixture(params=GRAPHS)
def exported(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """An ONNX folder and the graph in it."""
    return request.getfixturevalue(f"tiny_{request.param}"), GRAPHS[request.param]


def test_an_onnx_folder_has_exactly_the_files_that_clients_look_for(exported: tuple[Path, str]) -> None:
    folder, graph = exported
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == SIDE_FILES | {graph}
    assert {file.name for file in read_manifest(folder).files} == files - {"compress.json"}


def test_config_tokenizer_and_vocabulary_are_what_other_clients_need(exported: tuple[Path, str]) -> None:
    folder, _ = exported
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertForSequenceClassification"])
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["label2id"] == {"negative": 0, "positive": 1}
    assert config["problem_type"] == "single_label_classification"
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert (tokenizer["truncation"], tokenizer["padding"]) == (None, None)
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 128
    vocabulary = (folder / "vocab.txt").read_text().splitlines()
    assert {token: index for index, token in enumerate(vocabulary)} == Tokenizer.from_file(
        str(folder / "tokenizer.json")
    ).get_vocab()


def test_a_pruned_model_is_exported_under_a_name_that_clients_know(tiny_encoder: Path, tmp_path: Path) -> None:
    model = make_bert((4, 0, 1, 2), (0, 32, 64, 128), labels=3)
    save_checkpoint(make_checkpoint(tiny_encoder, model, ("c", "a", "b")), tmp_path / "pruned")
    compress.export(tmp_path / "pruned", tmp_path / "onnx")
    config = json.loads((tmp_path / "onnx" / "config.json").read_text())
    assert config["model_type"] == "bert"
    assert not config.keys() & {"heads_per_layer", "neurons_per_layer", "attention_head_size"}
    assert config["id2label"] == {"0": "c", "1": "a", "2": "b"}
    assert compress.load(tmp_path / "onnx").labels == ("c", "a", "b")


def test_the_history_grows_by_a_step_and_names_its_parent(tiny_torch: Path, tiny_onnx: Path, tiny_int8: Path) -> None:
    teacher, fp32, int8 = map(read_manifest, (tiny_torch, tiny_onnx, tiny_int8))
    assert fp32.history[:-1] == teacher.history
    assert int8.history[:-1] == fp32.history
    assert fp32.history[-1]["parent"]["digest"] == teacher.digest
    assert int8.history[-1]["parent"]["digest"] == fp32.digest
    assert fp32.history[-1]["metrics"]["max_logit_difference"] < 1e-4
    assert (fp32.parameters, int8.parameters) == (teacher.parameters, teacher.parameters)


def test_quantizing_a_torch_folder_equals_quantizing_its_export(
    tiny_torch: Path, tiny_int8: Path, tiny_data: Path, tmp_path: Path
) -> None:
    compress.quantize(tiny_torch, tiny_data, tmp_path / "direct")
    for name in (GRAPHS["int8"], "config.json", "tokenizer.json", "vocab.txt"):
        assert (tmp_path / "direct" / name).read_bytes() == (tiny_int8 / name).read_bytes(), name


def test_a_quantized_folder_is_not_quantized_again(tiny_int8: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="is quantized already"):
        compress.quantize(tiny_int8, tiny_data, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_agreement_is_with_the_parent_on_validation(tiny_onnx: Path, tiny_int8: Path, tiny_data: Path) -> None:
    validation = read(tiny_data).validation
    answers = [[found.label for found in compress.load(folder)(validation.texts)] for folder in (tiny_onnx, tiny_int8)]
    right = [
        np.mean([label == name for label, (name,) in zip(found, validation.labels, strict=True)]) for found in answers
    ]
    metrics = read_manifest(tiny_int8).history[-1]["metrics"]
    assert (metrics["metric"], metrics["texts"]) == ("accuracy", 60)
    assert (metrics["parent"], metrics["quantized"]) == pytest.approx(right)
    assert metrics["agreement"] == pytest.approx(np.mean([a == b for a, b in zip(*answers, strict=True)]))
    assert metrics["agreement"] > 0.9
    assert metrics["bytes"] == (tiny_int8 / GRAPHS["int8"]).stat().st_size < metrics["parent_bytes"] / 2


def test_a_model_that_cannot_be_exported_leaves_nothing(tiny_encoder: Path, tmp_path: Path) -> None:
    def saved(name: str, checkpoint: Checkpoint) -> Path:
        save_checkpoint(checkpoint, tmp_path / name)
        return tmp_path / name

    strange = saved("strange", make_checkpoint(tiny_encoder, make_bert(activation="silu"), ("a", "b")))
    broken = make_checkpoint(tiny_encoder, make_bert(), ("a", "b"))
    parts(broken.model).bert.pooler.dense.bias.data[0] = float("nan")
    for model in (strange, saved("broken", broken)):
        with pytest.raises(CompressError, match="export: "):
            compress.export(model, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"strange", "broken"}


def test_the_exported_graph_gives_the_checkpoints_logits(tiny_torch: Path, tiny_onnx: Path, tiny_data: Path) -> None:
    texts = read(tiny_data).train.texts
    expected = predict_logits(TorchPredictor(load_classifier(str(tiny_torch))), texts)
    assert np.abs(compress.load(tiny_onnx).logits(texts) - expected).max() < 1e-4
    assert onnx.load(tiny_onnx / GRAPHS["onnx"]).producer_name == "compress"
