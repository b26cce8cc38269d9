"""The gate of quantize: what it measures, what it tries before it gives up, and what it refuses to write."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.cli.main import main
from compress.data import Split
from compress.errors import CompressError
from compress.evaluation.comparison import compare_logits
from compress.folder import read_manifest
from compress.modeling.checkpoint import load_classifier, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.quantization.accuracy_gate import _doubling
from compress.quantization.reference import reference_outputs
from compress.runtime.session import OnnxPredictor
from tests.tiny import THREE_LABELS, parts, read

OUTLIER = 1e4  # beside it, every other weight of its column rounds to 0


def saved(model: Path, folder: Path, ruin: "Any") -> Path:
    """A copy of ``model`` with ``ruin`` done to its BERT."""
    checkpoint = load_classifier(str(model))
    with torch.no_grad():
        ruin(parts(checkpoint.model).bert)
    save_checkpoint(checkpoint, folder)
    return folder


@pytest.fixture
def brittle(two_layers: Path, tmp_path: Path) -> Path:
    """Good fp32 answers, but int8 ruins its pooler: an outlier on an input that is always 0."""

    def ruin(bert: Any) -> None:
        norm = bert.encoder.layer[-1].output.LayerNorm
        norm.weight[0] = norm.bias[0] = 0
        bert.pooler.dense.weight[:, 0] = OUTLIER

    return saved(two_layers, tmp_path / "brittle", ruin)


@pytest.fixture
def hopeless(two_layers: Path, tmp_path: Path) -> Path:
    """Good fp32 answers, but int8 ruins every product of its FFNs, of its attention and of its pooler."""

    def ruin(bert: Any) -> None:
        norms = [bert.embeddings.LayerNorm]
        for layer in bert.encoder.layer:
            norms += [layer.attention.output.LayerNorm, layer.output.LayerNorm]
        for norm in norms:
            norm.weight[0] = norm.bias[0] = 0
        for layer in bert.encoder.layer:
            inside = layer.attention.self
            for silent in (inside.value, layer.intermediate.dense):
                silent.weight[0] = silent.bias[0] = 0
            readers = (inside.query, inside.key, inside.value, layer.intermediate.dense)
            for reader in (*readers, layer.attention.output.dense, layer.output.dense):
                reader.weight[1:, 0] = OUTLIER
        bert.pooler.dense.weight[:, 0] = OUTLIER

    return saved(two_layers, tmp_path / "hopeless", ruin)


def test_what_is_reported_is_the_paired_difference_on_the_same_texts() -> None:
    before = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    after = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], np.float32)
    targets = np.array([0, 0, 1, 1, 1])  # parent right on the first four, int8 on 0, 2 and 4
    found = compare_logits("accuracy", "single_label", ("no", "yes"), before, after, targets)
    assert (found.metric, found.parent, found.quantized, found.texts) == ("accuracy", 0.8, 0.6, 5)
    assert found.drop_points == pytest.approx(20)
    assert found.accuracy_delta == pytest.approx(-0.2)
    assert found.ci95[0] < -0.2 < found.ci95[1]
    assert found.mcnemar_p == 1.0  # two against one
    assert found.agreement == pytest.approx(0.4)
    assert "80.00 to 60.00 (-20.00 points" in str(found)
    assert str(found).endswith("40.00% of 5 answers as before")  # one line, however many labels there are


def test_nothing_changed_is_said_so() -> None:
    logits = np.eye(3, dtype=np.float32)
    found = compare_logits("accuracy", "single_label", ("a", "b", "c"), logits, logits + 1, np.array([0, 1, 1]))
    assert (found.agreement, found.drop_points, found.mcnemar_p) == (1.0, 0.0, 1.0)
    assert found.ci95[0] < -0.2 < 0.2 < found.ci95[1]  # three texts say little of others


def test_multi_label_answers_agree_only_where_all_labels_do() -> None:
    before = np.array([[2, 1], [2, -1], [-2, 1]], np.float32)
    after = np.array([[2, -1], [3, -2], [2, 1]], np.float32)
    targets = np.array([[1, 1], [1, 0], [0, 1]], np.float32)
    found = compare_logits("macro_f1", "multi_label", ("dull", "sharp"), before, after, targets)
    assert (found.metric, found.parent) == ("macro_f1", 1.0)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.quantized == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_drop_is_in_points_and_gains_always_pass() -> None:
    before = np.array([[1, 0]] * 10, np.float32)
    after = np.array([[1, 0]] * 9 + [[0, 1]], np.float32)
    lost = compare_logits("accuracy", "single_label", ("a", "b"), before, after, np.zeros(10, np.int64))
    assert lost.is_within(10.0)
    assert not lost.is_within(9.9)
    won = compare_logits("accuracy", "single_label", ("a", "b"), after, before, np.zeros(10, np.int64))
    assert won.is_within(0)


@pytest.mark.parametrize("labels", [("no", "yes"), ("yes", "no")])
def test_a_rare_label_that_is_lost_is_a_loss_of_f1_and_hardly_one_of_accuracy(labels: tuple[str, str]) -> None:
    targets = np.array([labels.index("yes" if row < 5 else "no") for row in range(100)])
    before = np.eye(2, dtype=np.float32)[targets]
    after = np.eye(2, dtype=np.float32)[np.full(100, labels.index("no"))]
    found = {
        metric: compare_logits(metric, "single_label", labels, before, after, targets)
        for metric in ("accuracy", "macro_f1", "f1")
    }
    assert [metric for metric in found if found[metric].is_within(5)] == ["accuracy"]
    assert [found["f1"].accuracy_delta, found["f1"].drop_points] == pytest.approx([-1, 100])


def test_a_metric_that_the_task_does_not_have_is_refused_before_the_first_answer(
    task_onnx: Callable[[str], Path],
) -> None:
    parent, asked = OnnxPredictor.open(task_onnx("single_label"), 1), []
    run = parent.run
    parent.run = lambda feeds: asked.append(feeds) or run(feeds)  # type: ignore[method-assign,func-returns-value]
    texts = Split(["a good film", "a bad film"], [(THREE_LABELS[0],), (THREE_LABELS[1],)])
    with pytest.raises(CompressError, match="metric f1 is for tasks of two labels, this one has 3"):
        reference_outputs(parent, texts, "f1")
    assert not asked
    assert reference_outputs(parent, texts).metric == "accuracy"
    assert asked


def test_a_sample_is_spread_over_the_texts_and_keeps_them_together(two_layers: Path, tiny_data: Path) -> None:
    reference = reference_outputs(TorchPredictor(load_classifier(str(two_layers))), read(tiny_data).validation)
    few = reference.sample(7)
    assert len(few.encodings) == len(few.targets) == len(few.logits) == 7
    assert few.encodings[0] is reference.encodings[0]
    assert few.encodings[-1] is reference.encodings[-1]
    assert few.agreement(few.answers(reference.parent)).agreement == 1.0
    assert len(reference.sample(1000).encodings) == len(reference.encodings)


def test_what_collapses_is_mended_by_the_most_sensitive_weight_in_fp32(
    brittle: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compress.quantize(brittle, tiny_data, tmp_path / "out", max_drop=5, threads=1)
    metrics = read_manifest(tmp_path / "out").history[-1]["metrics"]
    assert metrics["kept_fp32"] == ["pooler.weight"]
    assert metrics["agreement"] > 0.95 > metrics["parent"] - 0.05
    assert metrics["failed_tries"][0].startswith("all int8, dynamic activations: accuracy")
    ranked = [one["rms_logit_change"] for one in metrics["sensitivity"]]
    assert ranked == sorted(ranked, reverse=True)
    assert metrics["sensitivity"][0]["weight"] == "pooler.weight"
    assert {"words", "layer.0.ffn.input.weight"} <= {one["weight"] for one in metrics["sensitivity"]}
    shown = capsys.readouterr().err
    assert "quantized alone" in shown
    assert "pooler.weight" in shown


def test_a_collapse_may_be_allowed_by_name(brittle: Path, tiny_data: Path, tmp_path: Path) -> None:
    allowed = compress.quantize(brittle, tiny_data, tmp_path / "out", max_drop=100, threads=1).metrics
    assert allowed["agreement"] < 0.8 < allowed["parent"]
    assert (allowed["kept_fp32"], allowed["failed_tries"]) == ([], [])


def test_what_cannot_be_mended_is_refused_with_the_numbers_and_nothing_written(
    hopeless: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["quantize", str(hopeless), "--data", str(tiny_data), "--out", str(tmp_path / "out"), "--max-drop", "5"]
    assert main([*arguments, "--threads", "1", "--quiet"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(
        r"\d tries loses .* --max-drop 5 allows; the best, .*: accuracy \d\d.*95% interval.* nothing was written", line
    )
    assert [path.name for path in tmp_path.iterdir()] == ["hopeless"]


def test_the_tries_double_and_end_at_half() -> None:
    assert [_doubling(most) for most in (0, 1, 2, 3, 9)] == [[], [1], [1, 2], [1, 2, 3], [1, 2, 4, 8, 9]]
