"""The int8 graph: what is quantized, how exactly, and that ONNX Runtime fuses every product."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compress.graph.build import graph_of
from compress.machine import cpu_flags, int8_flags
from compress.quantization.dynamic import QuantizationPlan, quantize_columns, quantize_weights
from compress.quantization.saturation import portable_plan
from tests.graph.test_build import MODELS, onnx_logits, session
from tests.tiny import make_bert, make_feeds, torch_logits

WEIGHTS = st.floats(-1e4, 1e4, width=32).map(lambda value: 0.0 if abs(value) < 1e-30 else value)


def graphs(kind: dict[str, Any]) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    fp32 = graph_of(make_bert(**kind))
    return fp32, quantize_weights(fp32, unsaturated(fp32))


def unsaturated(fp32: onnx.ModelProto) -> QuantizationPlan:
    """All weights in int8, in a smaller range where this CPU's sums would saturate, which is not the graph's doing."""
    return QuantizationPlan() if int8_flags(cpu_flags()) else portable_plan(fp32)


def fused_kinds(graph: onnx.ModelProto, path: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime really runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@given(weight=arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=WEIGHTS))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_column_is_off_by_half_a_step_at_most(weight: np.ndarray) -> None:
    integers, scale = quantize_columns(weight)
    assert integers.dtype == np.int8
    assert integers.min() >= -127  # -128 would make the range lopsided
    assert scale.shape == weight.shape[1:]
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    off = np.abs(weight.astype(np.float64) - integers * scale.astype(np.float64))
    assert (off <= 0.5 * scale * (1 + 1e-4)).all()
    largest = np.abs(weight).max(axis=0) > 0
    assert (np.abs(integers).max(axis=0)[largest] == 127).all()  # the whole range is used
    assert (integers[:, ~largest] == 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_product_but_the_classifiers_is_int8_and_fused_in_a_valid_graph_near_the_fp32_one(
    name: str, tmp_path: Path
) -> None:
    fp32, int8 = graphs(MODELS[name])
    constants = {tensor.name: tensor.data_type for tensor in fp32.graph.initializer}
    products = {
        weight for node in fp32.graph.node if node.op_type == "MatMul" for weight in node.input if weight in constants
    } - {"logits.weight"}
    whole = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    eights = {tensor for tensor, kind in whole.items() if kind == onnx.TensorProto.INT8}
    assert eights == {f"{weight}.int8" for weight in products | {"words"}}
    assert not whole.keys() & (products | {"words"})  # nothing is stored twice
    assert whole["logits.weight"] == onnx.TensorProto.FLOAT
    kinds = Counter(node.op_type for node in int8.graph.node)
    assert kinds["MatMulInteger"] == len(products)
    fused = fused_kinds(int8, tmp_path / "optimized.onnx")
    assert fused["DynamicQuantizeMatMul"] == len(products)
    assert not fused.keys() & {"MatMulInteger", "DynamicQuantizeLinear", "MatMulIntegerToFloat"}
    onnx.checker.check_model(int8, full_check=True)
    assert (int8.ir_version, int8.opset_import[0].version) == (fp32.ir_version, fp32.opset_import[0].version)
    assert {node.domain for node in int8.graph.node} == {""}
    assert set(whole.values()) <= {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT64,
    }  # no uint8 weights: eight times slower
    model, running = make_bert(**MODELS[name]), session(int8)
    for feeds in (make_feeds(16, 20, padded=True), make_feeds(1, 6)):
        expected = torch_logits(model, feeds)
        off = np.abs(onnx_logits(running, feeds) - expected)
        assert 0 < off.max() < 0.5  # logits of these models have a spread of about 2


def test_the_fp32_model_is_left_as_it_was() -> None:
    fp32 = graph_of(make_bert())
    before = fp32.SerializeToString()
    quantize_weights(fp32)
    assert fp32.SerializeToString() == before


def test_int8_is_a_quarter_of_the_size() -> None:
    fp32, int8 = graphs({})
    assert len(int8.SerializeToString()) < 0.45 * len(fp32.SerializeToString())  # at 64 wide, biases and names weigh
