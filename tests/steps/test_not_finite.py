"""A model whose answers are not finite numbers is refused by whatever would pass it on, and named by what measures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import compress
from compress.bulk.predict import predict_file
from compress.errors import CompressError
from compress.folder import MANIFEST, read_manifest, write_manifest
from compress.modeling.checkpoint import save_checkpoint
from tests.test_app import run_cli
from tests.tiny import make_bert, make_checkpoint, parts, read


@pytest.fixture(scope="module")
def broken(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_onnx`` with shifts of a layer norm that are not numbers."""
    return spoiled(tiny_onnx, tmp_path_factory.mktemp("broken") / "onnx", "embeddings.norm.shift", ...)


@pytest.fixture(scope="module")
def broken_for_awful(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_onnx`` with a row of its embeddings that is not a number: texts with that word have no answer."""
    vocabulary = json.loads((tiny_onnx / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return spoiled(tiny_onnx, tmp_path_factory.mktemp("broken") / "awful", "words", vocabulary["awful"])


def spoiled(source: Path, folder: Path, weight: str, index: Any) -> Path:
    shutil.copytree(source, folder)
    model = onnx.load(folder / "onnx" / "model.onnx")
    tensor = next(each for each in model.graph.initializer if each.name.startswith(weight))
    values = numpy_helper.to_array(tensor).copy()
    values[index] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, folder / "onnx" / "model.onnx")
    manifest = read_manifest(source)
    (folder / MANIFEST).unlink()
    write_manifest(folder, manifest)
    return folder


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (
            "answers to 60 of 60 texts are not finite numbers",
            lambda model, data, out: compress.quantize(model, data, out, threads=1),
        ),
        (
            "answers to 60 of 60 texts are not finite numbers",
            lambda model, data, out: compress.calibrate(model, data, out, threads=1),
        ),
        (
            "cascade: the small model, validation text 1: the model answers with NaN",
            lambda model, data, out: compress.cascade(model, model, data, out, max_drop=5, threads=1),
        ),
        (
            "answers to 10 of 10 texts are not finite numbers",
            lambda model, _, out: compress.export(model, out, for_="triton", threads=1),
        ),
        (
            "answers to 10 of 10 texts are not finite numbers",
            lambda model, _, out: compress.export(model, out, single_file=True, threads=1),
        ),
    ],
    ids=["quantize", "calibrate", "cascade", "triton", "single file"],
)
def test_nothing_is_made_of_it(
    broken: Path, tiny_data: Path, tmp_path: Path, words: str, step: Callable[[Path, Path, Path], object]
) -> None:
    with pytest.raises(CompressError, match=words):
        step(broken, tiny_data, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_overflows_is_not_exported(tiny_encoder: Path, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tiny_encoder, make_bert(), ("a", "b"))
    parts(checkpoint.model).classifier.weight.data[:] = 3e38  # finite: only its answers show it
    save_checkpoint(checkpoint, tmp_path / "torch")
    with pytest.raises(CompressError, match="answers to 1 of 1 texts are not finite numbers"):
        compress.export(tmp_path / "torch", tmp_path / "onnx", threads=1)
    assert not (tmp_path / "onnx").exists()


def test_quantize_counts_the_texts(broken_for_awful: Path, tiny_data: Path, tmp_path: Path) -> None:
    count = sum("awful" in str(text) for text in read(tiny_data).validation.texts)
    with pytest.raises(CompressError, match=f"answers to {count} of 60 texts are not finite"):
        compress.quantize(broken_for_awful, tiny_data, tmp_path / "int8", threads=1)


@pytest.mark.usefixtures("forked_workers")
def test_bench_gives_it_a_row_with_the_reason(tiny_onnx: Path, broken: Path, tiny_data: Path, tmp_path: Path) -> None:
    compress.bench([tiny_onnx, broken], tiny_data, tmp_path / "report", seconds=0.01, threads=[1])
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    assert len(results["models"]) == 1
    assert "60 of 60 texts are not finite numbers" in results["failed"][0]["reason"]


def test_an_answer_that_is_no_number_is_refused_by_its_text(broken_for_awful: Path) -> None:
    with compress.load(broken_for_awful, threads=1) as classifier:
        assert classifier("good").label == "positive"
        for texts in (["good", "an awful film"], ["good"] * 1500 + ["an awful film"]):
            with pytest.raises(CompressError, match=rf"^texts\[{len(texts) - 1}\]: the model answers with NaN"):
                classifier(texts)


@pytest.mark.parametrize("form", [["--json"], ["--format", "jsonl"], ["--format", "tsv"]])
def test_predict_prints_no_numbers_that_are_none(broken_for_awful: Path, form: list[str]) -> None:
    finished = run_cli("predict", broken_for_awful, "--threads", "1", *form, "good", "an awful film")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("compress: texts[1]: the model answers with NaN")


def test_predict_names_the_row_of_a_file(
    broken_for_awful: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.bulk.predict.ROWS_AT_ONCE", 1)
    monkeypatch.setattr("compress.runtime.classifier._TEXTS_AT_ONCE", 1)
    data, out = tmp_path / "d.csv", tmp_path / "o.csv"
    data.write_text('text\n"good\nfilm"\ngood\nan awful film\n', encoding="utf-8")
    with compress.load(broken_for_awful, threads=1) as classifier:
        for _ in range(2):  # the second goes on from the two answers that are kept
            with pytest.raises(CompressError, match=r"^\S*d\.csv, line 5: the model answers with NaN"):
                predict_file(classifier, broken_for_awful, data, out)
