"""A PyTorch model and its export in one report."""

import json
from pathlib import Path
from typing import Any

import pytest

from compress.benchmark.measure import bench
from compress.benchmark.report.page import write_report
from compress.config import BenchConfig
from tests.benchmark.test_bench import TEST


@pytest.mark.usefixtures("forked_workers")
def test_torch_and_onnx_side_by_side(tiny_torch: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    config = BenchConfig(seconds=0.1, threads=[1], length=[2], batch=[64], price_per_hour=0.036)
    results = bench([tiny_torch, tiny_onnx], TEST, "single_label", config)

    first, second = results["models"]
    assert [first["backend"], second["backend"]] == ["torch", "onnxruntime"]
    assert second["provider"] == "CPUExecutionProvider"
    assert second["versus_first"]["agreement"] == 1.0
    assert second["accuracy"] | {"ece": 0} == first["accuracy"] | {"ece": 0}
    assert second["accuracy"]["ece"] == pytest.approx(first["accuracy"]["ece"], abs=1e-4)
    speedup = first["latency"][0]["p50_ms"] / second["latency"][0]["p50_ms"]
    assert second["versus_first"]["speedup_p50"] == pytest.approx(speedup)
    assert second["versus_first"]["speedup_answer"] == pytest.approx(first["answer_p50_ms"] / second["answer_p50_ms"])
    assert second["answer_p50_ci95"][0] <= second["answer_p50_ms"] <= second["answer_p50_ci95"][1]
    assert second["versus_first"]["size_ratio"] == pytest.approx(first["size_bytes"] / second["size_bytes"])
    assert results["balance"] == {
        "most_frequent": ("positive",), "share": 0.65, "always": 0.65, "lopsided": False, "absent": ()
    }  # fmt: skip
    write_report(results, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["models"][1]["name"] == second["name"]
    assert_costs(first, second)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<td>{second['cost']['price_per_million_texts']:.3g}</td>" in page  # far below a hundredth


def assert_costs(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Every model has its costs, and an export costs less than PyTorch."""
    for model in (first, second):
        cost = model["cost"]
        assert 4 < cost["mean_tokens"] < 40
        assert min(cost[name] for name in ("tokenizer_p50_ms", "load_ms", "first_answer_ms")) > 0
        real, shape = model["latency"]
        fastest = max(model["throughput"]["texts_per_s"], real["texts_per_s"])
        assert shape["texts_per_s"] > fastest  # 64 texts of 2 tokens, which none of the user's are
        assert cost["price_per_million_texts"] == pytest.approx(10 / fastest)
    assert second["cost"]["macs"] < first["cost"]["macs"]  # the export leaves out what the classifier does not read
