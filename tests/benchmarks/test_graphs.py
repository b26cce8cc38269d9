"""The benchmark of graphs compares within a round, and its floor has the products of our graph and no others."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks import beside, graphs
from benchmarks.graphs import OURS, Row, merge, summarise
from benchmarks.graphs_models import floor_graph
from compress.graph.build import graph_of
from compress.graph.writer import KEPT_FP32, WORDS
from compress.machine import describe_machine
from compress.quantization.dynamic import quantize_weights
from tests.tiny import make_bert


def row(model: str, threads: int, ours_ms: float) -> Row:
    times = {OURS: [[ours_ms] * 3], "stock": [[2 * ours_ms] * 3]}
    return summarise(model, "1 x 32", threads, times, [], {})


def test_ratios_are_within_a_round_and_accuracy_is_of_all_texts() -> None:
    times = {OURS: [[1.0, 2.0, 3.0], [20.0], [3.0]], "stock": [[4.0], [30.0], [9.0]]}
    found = summarise("m", "texts", 1, times, [0, 1, 1, 0], {OURS: [0, 1, 1, 0], "stock": [0, 0, 1, 1]})
    assert found.ratio == {OURS: 1.0, "stock": 2.0}  # of 2, 1.5 and 3
    assert found.p50_ms == {OURS: 3.0, "stock": 9.0}
    assert found.accuracy == {OURS: 1.0, "stock": 0.5}
    assert found.rounds == 3


def test_a_row_replaces_the_one_of_the_same_load_alone() -> None:
    rows = merge(merge(merge([], row("b", 1, 5.0)), row("a", 1, 1.0)), row("b", 1, 6.0))
    assert [(each["model"], each["p50_ms"][OURS]) for each in rows] == [("a", 1.0), ("b", 6.0)]
    assert beside.graphs({"rows": rows}).splitlines()[2:] == [
        "| a | 1 x 32 | 1 | **1.00** | 2.00 |",
        "| b | 1 x 32 | 1 | **6.00** | 12.00 |",
    ]


def test_a_part_that_is_measured_anew_leaves_the_others_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = describe_machine([1, 2])
    before: dict[str, Any] = {"created": "2020-01-01", "machine": machine | {"versions": {"onnxruntime": "1.0"}}}
    before |= {"size_bytes": {"student": {"int8": 5}}, "rows": merge([], row("a", 2, 1.0))}
    (tmp_path / "graphs.json").write_text(json.dumps(before))
    monkeypatch.setattr(graphs, "KEPT", tmp_path / "graphs.json")
    monkeypatch.setattr(graphs, "WORK", tmp_path)
    for _ in range(2):
        found = graphs.save(row("b", 1, 1.0))
    old, new = found["rows"]
    assert (old["created"], old["versions"]) == ("2020-01-01", {"onnxruntime": "1.0"})
    assert new["created"] >= found["created"] > "2020-01-01"
    assert found["size_bytes"]["student"] == {"int8": 5}
    assert found["machine"]["threads"] == [1, 2]

    (tmp_path / "graphs.json").write_text(json.dumps(before | {"machine": machine | {"cpu": "Abacus"}}))
    with pytest.raises(SystemExit, match="is of another CPU, Abacus"):
        graphs.save(row("b", 1, 1.0))


def test_the_floor_has_the_work_of_our_layers_alone() -> None:
    model = make_bert()
    floor = floor_graph(model)
    onnx.checker.check_model(floor, full_check=True)
    ours = quantize_weights(graph_of(model))
    left_out = {f"{name}.int8" for name in (KEPT_FP32, WORDS, "pooler.weight")}

    def bytes_of(graph: onnx.ModelProto) -> int:
        found = [tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
        return sum(len(tensor.raw_data) for tensor in found if tensor.name not in left_out)

    assert bytes_of(floor) == bytes_of(ours)
    assert {node.op_type for node in floor.graph.node} == {"MatMulInteger"}
    # The last layer multiplies its keys and values for all tokens, the rest for each text's first.
    per_token = sum(node.input[0].startswith("tokens") for node in floor.graph.node)
    assert (per_token, len(floor.graph.node)) == (4 * 3 + 1, 4 * 3 + 5)
