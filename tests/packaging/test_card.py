"""The model card: metadata that the Hub reads, figures as the history has them, code that runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from scipy.stats import binomtest

from compress.evaluation.metrics import wilson_interval
from compress.folder import Manifest
from compress.packaging.card import model_card

QUANTIZED = {"metric": "accuracy", "parent": 0.95, "quantized": 0.94, "agreement": 0.985, "texts": 200}


def entry(step: str, source: str, metrics: dict[str, Any]) -> dict[str, Any]:
    return {"step": step, "metrics": metrics, "parent": {"source": source}, "data": {"data": "news/bbc: 2.csv"}}


EXPORTED = Manifest(
    kind="onnx",
    task="single_label",
    labels=("a", "b"),
    max_length=64,
    parameters=1234567,
    history=(entry("finetune", "demo:minilm", {"validation_accuracy": 0.95}), entry("export", "teacher", {})),
)
INT8 = replace(EXPORTED, history=(*EXPORTED.history, entry("quantize", "onnx", {**QUANTIZED, "temperature": 1.25})))


@pytest.mark.parametrize("manifest", [EXPORTED, INT8, replace(INT8, task="pair_multi_label")])
@pytest.mark.parametrize("name", ["int8", 'od"d: name'])
def test_the_hub_reads_the_metadata(manifest: Manifest, name: str) -> None:
    data: Any = ModelCard(model_card(name, manifest)).data
    assert data.pipeline_tag == "text-classification"
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data["base_model_relation"] == ("quantized" if manifest is not EXPORTED else "finetune")
    if manifest is not EXPORTED:
        (result,) = data.eval_results or []
        assert (result.task_type, result.dataset_split) == ("text-classification", "validation")
        assert (result.metric_type, result.metric_value) == ("accuracy", 0.94)
        assert data.model_name == name


@pytest.mark.parametrize("source", ["teacher", "/home/me/bert", "../bert", "a/b/c"])
def test_a_local_start_is_not_named_as_a_hub_model(source: str) -> None:
    history = (entry("finetune", source, {}), *EXPORTED.history[1:])
    card = model_card("x", replace(EXPORTED, history=history))
    assert "base_model" not in yaml.safe_load(card.split("---")[1])


def test_figures_come_with_their_interval() -> None:
    card = model_card("int8", INT8)
    expected = binomtest(188, 200).proportion_ci(method="wilson")
    assert wilson_interval(0.94, 200) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert f"94.0% (95% interval {100 * expected.low:.1f} to {100 * expected.high:.1f}%)" in card
    assert "divided by 1.25" in card
    assert "98.5%" in card
    assert "interval" not in model_card("onnx", EXPORTED)


def test_scores_that_a_temperature_of_1_fits_are_calibrated_and_not_divided() -> None:
    calibrated = entry("calibrate", "onnx", {"temperature": 1.0})
    card = model_card("x", replace(EXPORTED, history=(*EXPORTED.history, calibrated)))
    assert "- Its scores are calibrated for texts like the validation ones." in card
    assert not any(word in card for word in ("divided", "not calibrated"))


def test_each_graph_is_loaded_by_its_own_name() -> None:
    assert all(word in model_card("x", INT8) for word in ("model_quantized.onnx", "'q8'", "softmax"))
    assert all(word in model_card("x", EXPORTED) for word in ("onnx/model.onnx", "'fp32'", "not calibrated"))


def test_of_a_cascade_nothing_is_said_that_holds_for_its_large_model_alone() -> None:
    """The card of one file, whose history is the large model's but for the last two steps."""
    shares = {"hand_on_below": 0.93, "max_drop": 0.01, "confidence": 0.95, "handed_on": 0.2, "drop": 0.004}
    times = {"answer_ms": 3.2, "small_answer_ms": 1.0, "large_answer_ms": 12.1}
    joined = entry("cascade", "teacher", {**shares, **times, "texts": 1004}) | {"small": {"history": INT8.history}}
    history = (*INT8.history, joined, entry("export", "joined", {}))
    card = model_card("app", replace(INT8, kind="single_file", history=history))
    assert "for texts like the\n1,004 validation texts that this was tested on: there 20.0% were handed on" in card
    assert "Those of the small one: finetune, export, quantize." in card
    assert not any(
        word in card for word in ("base_model", "model-index", "divided by", "calibrated", "int8 is", "95.0%")
    )


def test_where_a_text_is_cut_is_said_of_models_that_cut_it() -> None:
    assert "Reads texts and cuts at 64 tokens." in model_card("x", INT8)
    windows = model_card("x", replace(INT8, long_texts={"mode": "windows", "stride": 8, "pooling": "mean"}))
    assert "Reads texts.\n" in windows
    assert "read in windows of 64 tokens" in windows


def test_an_old_history_without_data_makes_a_card(tmp_path: Path) -> None:
    bare = replace(INT8, history=({"step": "quantize", "metrics": QUANTIZED, "parent": {"source": str(tmp_path)}},))
    card = model_card("x", bare)
    assert "model-index" not in card
    assert "divided by" not in card
