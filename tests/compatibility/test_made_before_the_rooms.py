"""What the package wrote before its rooms were laid out (commit d737081) is read, continued and reused as then."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from tests.tiny import STORED_RUN

SAID = json.loads((STORED_RUN / "logits.json").read_text(encoding="utf-8"))


@pytest.fixture
def then(tmp_path: Path) -> Path:
    """A copy that a test may write into."""
    return Path(shutil.copytree(STORED_RUN, tmp_path / "then"))


@pytest.mark.parametrize("name", ["teacher", "student", "pruned"])
def test_torch_folders_answer_as_they_did(name: str) -> None:
    predictor = TorchPredictor(load_classifier(str(STORED_RUN / name)))
    np.testing.assert_allclose(predict_logits(predictor, SAID["texts"]), SAID["logits"][name], atol=1e-5)


@pytest.mark.parametrize("name", ["onnx", "int8"])
def test_onnx_folders_answer_as_they_did(name: str) -> None:
    # int8 kernels round otherwise on other CPUs
    tolerance = 1e-5 if name == "onnx" else 0.05
    with compress.load(STORED_RUN / name, threads=1) as classifier:
        np.testing.assert_allclose(classifier.logits(SAID["texts"]), SAID["logits"][name], atol=tolerance)


def test_an_export_has_the_same_answers(tmp_path: Path) -> None:
    compress.export(STORED_RUN / "pruned", tmp_path / "onnx", threads=1)
    with compress.load(tmp_path / "onnx", threads=1) as classifier:
        np.testing.assert_allclose(classifier.logits(SAID["texts"]), SAID["logits"]["onnx"], atol=1e-5)
    steps = [entry["step"] for entry in read_manifest(tmp_path / "onnx").history]
    assert steps == ["finetune", "prune", "export"]


def test_a_teacher_is_not_asked_again_for_what_an_old_cache_holds(then: Path, tmp_path: Path) -> None:
    """The train texts' states are all there; new are only the logits of other texts, by which the student is judged."""

    def shards() -> dict[Path, set[bytes]]:
        found = {path.parent: np.load(path)["key"] for path in (then / "cache").rglob("index.npy")}
        return {folder: set(keys.tolist()) for folder, keys in found.items()}

    before = shards()
    settings: dict[str, Any] = {"layers": 1, "epochs": 1, "precision": "fp32", "hidden_weight": 1.0, "threads": 1}
    compress.distill(
        then / "teacher", then / "data", tmp_path / "student", teacher_cache=str(then / "cache"), **settings
    )
    after = shards()
    (new,) = after.keys() - before.keys()
    assert not after[new] & set().union(*before.values())
    assert {path.name for path in new.glob("*.npy")} == {"index.npy", "logits.npy"}


@pytest.mark.usefixtures("forked_workers")
def test_a_recipe_runs(then: Path, tmp_path: Path) -> None:
    done = compress.run(then / "recipe.yaml", tmp_path / "run")
    assert list(done) == ["student", "pruned", "int8", "report"]
    assert compress.run(then / "recipe.yaml", tmp_path / "run") == {}
