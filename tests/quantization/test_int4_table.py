"""The table of words in 4 bits: read exactly by stock operators, clipped where that helps, and half as large."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

import compress
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.graph.checks import expected_patterns
from compress.graph.writer import WORDS, constants_of, rewrite
from compress.quantization import int4_table
from compress.quantization.dynamic import QuantizationPlan, quantize_columns, quantize_weights
from compress.quantization.int4_table import lookup_int4, quantize_to_int4
from compress.runtime.graph_file import INT8_GRAPH
from tests.graph.test_build import MODELS, onnx_logits, session
from tests.tiny import make_bert, make_feeds

Table = npt.NDArray[np.float32]

NUMBERS = st.floats(-1e4, 1e4, width=32).map(lambda value: 0.0 if abs(value) < 1e-30 else value)
EVEN = st.tuples(st.integers(1, 9), st.integers(1, 4).map(lambda half: 2 * half))


def read_back(table: Table) -> Table:
    """Every row of ``table`` as onnxruntime reads it from the int4 table."""
    constants = {WORDS: table}
    nodes = list(lookup_int4(helper.make_node("Gather", [WORDS, "ids"], ["rows"]), table, constants))
    del constants[WORDS]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [None])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, None])
    model = helper.make_model(
        helper.make_graph(nodes, "table", [ids], [rows], weights), opset_imports=[helper.make_opsetid("", 20)]
    )
    model.ir_version = 10
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Table = session.run(None, {"ids": np.arange(len(table))})[0]
    return found


@given(table=arrays.arrays(np.float32, EVEN, elements=NUMBERS))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_number_is_the_nearest_of_fifteen_of_its_column(table: Table) -> None:
    packed, scale = quantize_to_int4(table)
    assert packed.dtype == np.int8
    assert packed.shape == (len(table), table.shape[1] // 2)
    steps = np.arange(-7, 8, dtype=np.float32)[:, None, None] * scale
    nearest = np.take_along_axis(steps, np.abs(steps - table).argmin(axis=0)[None], axis=0)[0]
    found = read_back(table)
    off, best = (np.abs(values.astype(np.float64) - table) for values in (found, nearest))
    assert (off <= best * (1 + 1e-4) + 1e-4 * scale).all()
    assert (found[table == 0] == 0).all()
    by_peak, peak_scale = quantize_columns(table, 7)
    largest = np.square(by_peak * peak_scale - table).sum(axis=0)
    assert (np.square(found - table).sum(axis=0) <= largest * (1 + 1e-3) + 1e-6 * scale**2).all()  # no clip may be best


def test_each_column_is_clipped_about_where_its_error_is_smallest() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=4000), rng.laplace(size=4000), rng.standard_t(4, 4000), rng.integers(-1, 2, 4000)]
    table = np.stack(columns, axis=1).astype(np.float32)

    def error(integers: npt.NDArray[Any], scale: Table) -> Table:
        found: Table = np.square(integers * scale - table).sum(axis=0)
        return found

    every = np.linspace(0.02, 1.0, 300)[:, None] * np.abs(table).max(axis=0) / 7
    least = np.min([error(np.clip(np.rint(table / scale), -7, 7), scale) for scale in every], axis=0)
    unclipped = error(*quantize_columns(table, 7))
    assert (least[:3] < 0.7 * unclipped[:3]).all()  # so clipping matters here
    for rows in (table, np.repeat(table, 6, axis=0)):  # the clip of large tables is chosen on some of their rows
        assert (np.square(read_back(rows) - rows).sum(axis=0) <= 1.05 * least * len(rows) / len(table) + 1e-3).all()


def test_what_is_in_int4_already_stays_as_it_is() -> None:
    table = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    once = read_back(table)
    np.testing.assert_allclose(read_back(once), once, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_answers_by_the_rows_of_its_int4_table_and_runs_as_many_kernels(name: str) -> None:
    fp32 = graph_of(make_bert(**MODELS[name]))
    constants = constants_of(fp32)
    same_words = rewrite(fp32, constants=constants | {WORDS: read_back(constants[WORDS])})
    int4 = quantize_weights(fp32, QuantizationPlan(int4_words=True))
    feeds = make_feeds(2, 9, padded=True)
    expected = onnx_logits(session(quantize_weights(same_words, QuantizationPlan(frozenset({WORDS})))), feeds)
    np.testing.assert_array_equal(onnx_logits(session(int4), feeds), expected)
    left = {tensor.name for tensor in int4.graph.initializer}
    assert left & {WORDS, f"{WORDS}.int8"} == set()
    assert sum(node.op_type == "Gather" for node in int4.graph.node) == expected_patterns(fp32)["gathers"]


@pytest.mark.parametrize("form", [{}, {"activations": "static"}, {"for": "openvino"}])
def test_quantize_writes_it_within_the_gate_and_says_so(
    form: dict[str, str], two_layers_onnx: Path, tiny_data: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"max_drop": 100, **form}
    int8 = compress.quantize(two_layers_onnx, tiny_data, tmp_path / "int8", **settings)
    int4 = compress.quantize(two_layers_onnx, tiny_data, tmp_path / "int4", embeddings="int4", **settings)
    assert [step.metrics["embeddings"] for step in (int8, int4)] == ["int8", "int4"]
    assert int4.metrics["quantized_as"].startswith("int4 embeddings, else all int8")
    words = constants_of(onnx.load(int8.folder / INT8_GRAPH))["words.int8"]
    saved = int8.metrics["bytes"] - int4.metrics["bytes"]
    assert saved == pytest.approx(words.size / 2, abs=1500)  # but for the names of a few more nodes
    assert compress.load(int4.folder)("a fine film").label in read_manifest(int4.folder).labels


def test_where_int4_loses_too_much_the_embeddings_are_in_int8(
    two_layers_onnx: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(table: Table) -> tuple[npt.NDArray[np.int8], Table]:
        return np.zeros((len(table), table.shape[1] // 2), np.int8), np.ones(table.shape[1], np.float32)

    monkeypatch.setattr(int4_table, "quantize_to_int4", nothing)  # a table that knows no word
    result = compress.quantize(two_layers_onnx, tiny_data, tmp_path / "out", embeddings="int4", max_drop=2)
    assert result.metrics["embeddings"] == "int8"
    assert [name.startswith("int4 embeddings") for name in result.metrics["failed_tries"]] == [True, True]


def test_an_odd_width_is_refused(
    two_layers_onnx: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load: Callable[..., onnx.ModelProto] = onnx.load

    def odd(path: Path) -> onnx.ModelProto:
        model = load(path)
        constants = constants_of(model)
        return rewrite(model, constants=constants | {WORDS: constants[WORDS][:, :-1]})

    monkeypatch.setattr(onnx, "load", odd)
    with pytest.raises(
        CompressError, match=r"quantize.embeddings int4 .* have \d*[13579] columns; leave embeddings out"
    ):
        compress.quantize(two_layers_onnx, tiny_data, tmp_path / "int4", embeddings="int4")
    assert not (tmp_path / "int4").exists()
