from pathlib import Path

import numpy as np
import pytest

from compress.benchmark.findings import Measured
from compress.benchmark.measure import compare
from compress.benchmark.model_worker import ModelInfo
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, summarise
from compress.config import BenchConfig
from compress.data import Split


def measured(task: str, labels: tuple[str, ...], logits: list[list[float]], p50_ms: float, size: int) -> Measured:
    info = ModelInfo(labels, task, 64, 4096, "torch", None, "fp32", size, 10)
    latency = [summarise(REAL, 1, [np.array([p50_ms] * 3)])]
    return Measured(Row(Path("nowhere")), info, np.asarray(logits, dtype=np.float32), latency)


def test_models_with_their_labels_in_another_order_are_matched_by_name() -> None:
    test = Split(texts=["1", "2", "3"], labels=[("a",), ("b",), ("b",)])
    models = {
        "first": measured("single_label", ("a", "b"), [[2, 1], [1, 2], [2, 1]], p50_ms=6.0, size=40),
        "other": measured("single_label", ("b", "a"), [[1, 2], [2, 1], [1, 2]], p50_ms=2.0, size=10),
    }
    first, other = compare(models, test, BenchConfig())
    assert first["accuracy"]["value"] == other["accuracy"]["value"] == pytest.approx(2 / 3)
    assert other["versus_first"]["agreement"] == 1.0
    assert other["versus_first"]["speedup_p50"] == pytest.approx(3)
    assert other["versus_first"]["size_ratio"] == pytest.approx(4)


@pytest.mark.parametrize("labels", [("0", "1"), ("1", "0")])
def test_f1_is_of_the_second_label_whatever_the_models_order(labels: tuple[str, str]) -> None:
    test = Split(texts=list("abcd"), labels=[("1",), ("1",), ("1",), ("0",)])
    # "1" is said of the first three and of the last: 3 hits, 1 false alarm, nothing missed.
    says_one = [2, 1] if labels[0] == "1" else [1, 2]
    models = {"only": measured("single_label", labels, [list(map(float, says_one))] * 4, p50_ms=1.0, size=1)}
    accuracy = compare(models, test, BenchConfig(metric="f1"))[0]["accuracy"]
    assert (accuracy["metric"], accuracy["value"]) == ("f1", pytest.approx(6 / 7))


def test_multi_label_models_agree_only_on_whole_label_sets() -> None:
    test = Split(texts=["1", "2"], labels=[("a", "b"), ()])
    models = {
        "first": measured("multi_label", ("a", "b"), [[1, 1], [-1, -1]], p50_ms=1.0, size=1),
        "other": measured("multi_label", ("a", "b"), [[1, -1], [-1, -1]], p50_ms=1.0, size=1),
    }
    first, other = compare(models, test, BenchConfig())
    assert (first["accuracy"]["metric"], first["accuracy"]["value"]) == ("macro_f1", 1.0)
    assert other["accuracy"]["value"] == 0.5
    assert other["versus_first"]["agreement"] == 0.5
    assert other["versus_first"]["accuracy_delta"] == -0.5
