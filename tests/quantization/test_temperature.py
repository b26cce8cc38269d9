"""The temperature: found where it is known, and inside the graph, so that all clients have it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

import compress
from compress.data import Dataset
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.quantization.dynamic import quantize_weights
from compress.quantization.temperature import fit_temperature, fold_temperature
from tests.graph.test_build import onnx_logits, session
from tests.tiny import make_bert, make_feeds, read

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return read(tiny_data)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_drawn_labels_is_found(true: float) -> None:
    logits = RNG.normal(scale=3, size=(20_000, 5)).astype(np.float32)
    probabilities = softmax(logits.astype(np.float64) / true, axis=1)
    targets = (probabilities.cumsum(axis=1) < RNG.random((len(logits), 1))).sum(axis=1).clip(0, 4)
    found = fit_temperature(logits, targets, "single_label")
    assert found.temperature == pytest.approx(true, rel=0.05)
    assert found.nll_before == pytest.approx(
        -log_softmax(logits, axis=1)[np.arange(len(logits)), targets].mean(), rel=1e-4
    )
    assert found.nll_after <= found.nll_before + 1e-6


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_several_labels_are_fitted_as_sigmoids(true: float) -> None:
    logits = RNG.normal(scale=3, size=(10_000, 4)).astype(np.float32)
    targets = (RNG.random(logits.shape) < expit(logits / true)).astype(np.float32)
    found = fit_temperature(logits, targets, "pair_multi_label")
    assert found.temperature == pytest.approx(true, rel=0.05)
    assert found.nll_after < found.nll_before


def test_it_is_the_best_temperature_for_softened_labels() -> None:
    logits = RNG.normal(size=(40, 3)).astype(np.float32)
    targets = RNG.integers(0, 3, 40)
    soft = (np.eye(3)[targets] * 40 + 1 / 3) / 41

    def loss(log_temperature: float) -> float:
        return float(-(soft * log_softmax(logits / np.exp(log_temperature), axis=1)).sum())

    best = np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded").x)
    assert fit_temperature(logits, targets, "single_label").temperature == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize("texts", [1, 60, 2000])
def test_few_texts_that_are_all_right_do_not_make_it_certain(texts: int) -> None:
    logits = np.tile(np.array([[1.0, -1.0]], dtype=np.float32), (texts, 1))
    found = fit_temperature(logits, np.zeros(texts, dtype=np.int64), "single_label")
    score = softmax(logits[0] / found.temperature)[0]
    assert score == pytest.approx((texts + 0.5) / (texts + 1), rel=1e-3)


def test_a_sure_model_of_many_labels_that_is_calibrated_stays_so_on_few_texts() -> None:
    """As of Banking77: 77 labels, 500 validation texts, 97 in 100 right."""
    logits = RNG.normal(size=(500, 77)).astype(np.float32)
    logits[np.arange(500), RNG.integers(0, 77, 500)] += RNG.uniform(6, 14, 500).astype(np.float32)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    targets = (probabilities.cumsum(axis=1) < RNG.random((500, 1))).sum(axis=1).clip(0, 76)
    found = fit_temperature(logits, targets, "single_label")
    scores = softmax(logits / found.temperature, axis=1).max(axis=1)
    assert scores.mean() == pytest.approx(probabilities.max(axis=1).mean(), abs=0.02)
    assert found.nll_after <= found.nll_before + 0.01


def test_logits_that_say_nothing_leave_a_finite_temperature() -> None:
    found = fit_temperature(np.zeros((9, 3), dtype=np.float32), np.zeros(9, dtype=np.int64), "single_label")
    assert 0.1 <= found.temperature <= 10
    assert found.nll_before == found.nll_after == pytest.approx(np.log(3))


def test_folding_divides_the_graphs_logits_and_nothing_else() -> None:
    graph = quantize_weights(graph_of(make_bert()))
    before, after = (onnx_logits(session(one), make_feeds(3, 9)) for one in (graph, fold_temperature(graph, 2.5)))
    assert after == pytest.approx(before / 2.5, rel=1e-4)
    assert np.abs(before).max() > 0.1
    changed = {
        old.name
        for old, new in zip(graph.graph.initializer, fold_temperature(graph, 2.5).graph.initializer, strict=True)
        if old != new
    }
    assert changed == {"logits.weight", "logits.bias"}


def test_quantize_folds_what_it_fitted(tiny_onnx: Path, tiny_int8: Path, data: Dataset) -> None:
    metrics = read_manifest(tiny_int8).history[-1]["metrics"]
    assert metrics["nll_after"] <= metrics["nll_before"]
    assert metrics["temperature"] != pytest.approx(1.0, abs=1e-3)
    logits = {
        folder: compress.load(folder, threads=1).logits(data.validation.texts) for folder in (tiny_onnx, tiny_int8)
    }
    assert metrics["temperature"] * logits[tiny_int8] == pytest.approx(logits[tiny_onnx], abs=0.5)
    targets = data.validation.targets(("negative", "positive"), "single_label")
    again = fit_temperature(logits[tiny_int8], targets, "single_label")
    assert again.temperature == pytest.approx(1.0, abs=1e-3)  # nothing is left to correct
    assert again.nll_before == pytest.approx(metrics["nll_after"], rel=1e-3)
    assert onnx.load(tiny_int8 / "onnx" / "model_quantized.onnx").producer_name == "compress"
