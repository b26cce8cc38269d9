"""export and quantize as steps: the folders that they leave, and when they leave none."""

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer

import compress
from compress import folder as folder_module
from compress.errors import CompressError
from compress.evaluation.metrics import score
from compress.folder import read_manifest
from compress.formatting import metric_name
from compress.modeling.checkpoint import Checkpoint, load_classifier, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.graph_file import FP32_GRAPH, INT8_GRAPH
from compress.runtime.predictor import predict_logits
from tests.tiny import make_bert, make_checkpoint, parts, read, write_rows

SIDE_FILES = {"README.md", "compress.json", "config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
GRAPHS = {"onnx": FP32_GRAPH, "int8": INT8_GRAPH}


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
    assert [entry["seed"] for entry in int8.history] == [0, None, None]  # those after the training draw nothing
    for packages in (entry["packages"] for entry in int8.history):
        assert packages.keys() >= {"torch", "transformers", "onnx", "onnxruntime", "numpy"}
        assert packages == {name: version(name) for name in packages}
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
        with pytest.raises(CompressError, match=r"activation is silu|NaN or infinity"):
            compress.export(model, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"strange", "broken"}


def test_the_exported_graph_gives_the_checkpoints_logits(tiny_torch: Path, tiny_onnx: Path, tiny_data: Path) -> None:
    texts = read(tiny_data).train.texts
    expected = predict_logits(TorchPredictor(load_classifier(str(tiny_torch))), texts)
    assert np.abs(compress.load(tiny_onnx).logits(texts) - expected).max() < 1e-4
    assert onnx.load(tiny_onnx / GRAPHS["onnx"]).producer_name == "compress"


def test_both_graphs_run_by_the_kernels_that_they_are_laid_out_for(exported: tuple[Path, str]) -> None:
    """Users are only warned where they do not: with the onnxruntime of constraints.txt they must."""
    metrics = read_manifest(exported[0]).history[-1]["metrics"]
    assert metrics["patterns"]["attention_products"] == 8
    assert "patterns_expected" not in metrics


def test_an_onnxruntime_that_fuses_nothing_is_warned_of_and_still_served(
    tiny_torch: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Unfused(ort.SessionOptions):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            super().__init__()
            self.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL

    monkeypatch.setattr(ort, "SessionOptions", Unfused)
    compress.export(tiny_torch, tmp_path / "onnx", threads=1)
    compress.quantize(tmp_path / "onnx", tiny_data, tmp_path / "int8", threads=1)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert all(": this onnxruntime runs 0 attention_products where 8 are expected" in line for line in warnings)
    for name, expected in {"onnx": {"attention_products"}, "int8": {"attention_products", "int8_products"}}.items():
        metrics = read_manifest(tmp_path / name).history[-1]["metrics"]
        assert metrics["patterns_expected"].keys() == expected
        assert all(metrics["patterns"][kind] == 0 for kind in expected)
    assert compress.load(tmp_path / "int8", threads=1)("a superb film").label == "positive"


def test_quantize_answers_validation_once_and_hashes_its_parent_once(
    tiny_onnx: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hashed: Counter[Path] = Counter()
    digest = folder_module._sha256

    def counted(path: Path) -> str:
        hashed[path] += 1
        return digest(path)

    monkeypatch.setattr(folder_module, "_sha256", counted)
    compress.quantize(tiny_onnx, tiny_data, tmp_path / "out", threads=1)
    assert set(hashed.values()) == {1}
    assert {tiny_onnx / file.name for file in read_manifest(tiny_onnx).files} <= hashed.keys()
    answered = Counter(line.partition(":")[0] for line in capsys.readouterr().err.splitlines() if "done in" in line)
    assert (answered["parent"], answered["validation"]) == (1, 1)


@pytest.fixture(scope="module")
def chosen_by_f1(shallow_encoder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX folder of a model whose checkpoint was chosen by F1."""
    folder = tmp_path_factory.mktemp("f1")
    settings: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-3, "precision": "fp32", "threads": 1}
    compress.finetune(shallow_encoder, tiny_data, folder / "teacher", metric="f1", **settings)
    compress.export(folder / "teacher", folder / "onnx", threads=1)
    return folder / "onnx"


@pytest.mark.parametrize("wanted", [None, "macro_f1"])
def test_the_gate_goes_by_the_metric_that_chose_the_model_unless_another_is_requested(
    wanted: str | None, chosen_by_f1: Path, tiny_data: Path, tmp_path: Path
) -> None:
    compress.quantize(chosen_by_f1, tiny_data, tmp_path / "out", metric=wanted, max_drop=100, threads=1)
    metrics = read_manifest(tmp_path / "out").history[-1]["metrics"]
    assert metrics["metric"] == (wanted or "f1")
    validation = read(tiny_data).validation
    logits = compress.load(tmp_path / "out", threads=1).logits(validation.texts)
    targets = validation.targets(("negative", "positive"), "single_label")
    assert metrics["quantized"] == pytest.approx(score(metrics["metric"], logits, targets))
    assert f"validation texts this model's {metric_name(metrics['metric'])} is" in (
        tmp_path / "out" / "README.md"
    ).read_text().replace("\n", " ")


def test_a_metric_that_the_task_has_not_is_refused_at_once(tiny_onnx: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"text {number}", "label": "abc"[number % 3]} for number in range(60)]
    data = write_rows(tmp_path / "three.jsonl", rows)
    with pytest.raises(CompressError, match="metric f1 is for tasks of two labels, this one has 3"):
        compress.quantize(tiny_onnx, data, tmp_path / "out", metric="f1")
