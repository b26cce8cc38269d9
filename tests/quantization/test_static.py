"""The static int8 graph: its pattern, that products run in integers, and its way through the gate into a folder."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compress
from compress.config import QuantizeConfig
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.modeling.torch_predictor import TorchPredictor
from compress.quantization.accuracy_gate import quantize
from compress.quantization.activations import scheme_of
from compress.quantization.dynamic import QuantizationPlan, matmul_inputs, quantizable
from compress.quantization.ranges import RANGES, Range
from compress.quantization.reference import ReferenceOutputs, reference_outputs
from compress.quantization.saturation import ObservedRange, saturating
from compress.quantization.static import collect, quantize_qdq, quantize_static
from compress.runtime.encoding import Encoding, pad
from compress.runtime.graph_file import activations_of, operators
from compress.runtime.session import OnnxPredictor
from tests.graph.test_build import MODELS, onnx_logits, session
from tests.quantization.test_dynamic import fused_kinds, unsaturated
from tests.tiny import make_bert, make_checkpoint, make_feeds, read, torch_logits


def texts(count: int, length: int = 20) -> list[Encoding]:
    feeds = make_feeds(count, length)
    return [
        Encoding(ids.tolist(), segments.tolist())
        for ids, segments in zip(feeds["input_ids"], feeds["token_type_ids"], strict=True)
    ]


@pytest.fixture
def parent(tiny_encoder: Path) -> TorchPredictor:
    return TorchPredictor(make_checkpoint(tiny_encoder, make_bert(), ("a", "b")))


def covered(fp32: onnx.ModelProto, parent: TorchPredictor, method: str, count: int) -> dict[str, Range]:
    return {
        name: RANGES[method](value.histogram) for name, value in collect(fp32, parent, texts(count), threads=1).items()
    }


@pytest.mark.parametrize(
    ("name", "form", "method"),
    [
        *(("plain", quantize_static, method) for method in RANGES),
        ("plain", quantize_qdq, "percentile"),
        ("uneven", quantize_static, "percentile"),
        ("a last layer without either", quantize_qdq, "percentile"),
    ],
)
def test_products_run_in_integers_and_answer_nearly_as_torch(
    name: str, form: Callable[..., onnx.ModelProto], method: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    model = make_bert(**MODELS[name])
    fp32 = graph_of(model)
    parent = TorchPredictor(make_checkpoint(tiny_encoder, model, ("a", "b")))
    int8 = form(fp32, unsaturated(fp32), covered(fp32, parent, method, 32))
    onnx.checker.check_model(int8, full_check=True)
    used = {value for node in int8.graph.node for value in node.input}
    constants = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    assert constants.keys() <= used
    eights = {name for name, kind in constants.items() if kind == onnx.TensorProto.INT8}
    assert eights == {f"{weight}.int8" for weight in quantizable(fp32)}
    kinds = Counter(node.op_type for node in int8.graph.node)
    assert kinds["QuantizeLinear"] == len(set(matmul_inputs(fp32).values()))  # once for all that read a value
    fused = fused_kinds(int8, tmp_path / "optimized.onnx")
    if form is quantize_qdq:
        assert {node.domain for node in int8.graph.node} == {""}
        assert fused["MatMulIntegerToFloat"] == len(matmul_inputs(fp32)) - 1  # all but the pooler's, of one row a text
    else:
        assert fused["MatMulIntegerToFloat"] == len(matmul_inputs(fp32))
        before = Counter(node.op_type for node in fp32.graph.node)
        assert before["Add"] - kinds["Add"] == len(matmul_inputs(fp32))  # their biases
    running = session(int8)
    for feeds in (make_feeds(16, 20, padded=True), make_feeds(1, 6)):
        off = np.abs(onnx_logits(running, feeds) - torch_logits(model, feeds))
        assert 0 < off.max() < 0.5  # logits of these models have a spread of about 2


def test_a_product_without_a_bias_keeps_its_name_and_its_answer(parent: TorchPredictor) -> None:
    """As in families that have none: what reads the product reads it still."""
    fp32 = graph_of(make_bert())
    name = "layer.0.ffn.input"
    sum_of = next(node for node in fp32.graph.node if node.output[0] == name)
    fp32.graph.node.remove(sum_of)
    for node in fp32.graph.node:
        node.input[:] = [sum_of.input[0] if value == name else value for value in node.input]
    int8 = quantize_static(fp32, unsaturated(fp32), covered(fp32, parent, "percentile", 8))
    (product,) = (node for node in int8.graph.node if f"{name}.weight.int8" in node.input)
    assert list(product.output) == [sum_of.input[0]]
    feeds = make_feeds(2, 9)
    off = onnx_logits(session(int8), feeds) - onnx_logits(session(fp32), feeds)
    assert np.abs(off).max() < 0.5


def test_what_is_collected_is_what_the_products_read(parent: TorchPredictor) -> None:
    fp32, encodings = graph_of(make_bert()), texts(4)
    seen = collect(fp32, parent, encodings, threads=1)
    watched = onnx.ModelProto()
    watched.CopyFrom(fp32)
    name = "layer.1.ffn.activation"
    watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    feeds = make_feeds(4, 20)
    (values,) = session(watched).run([name], feeds)
    assert seen[name].histogram.counts.sum() == values.size
    assert seen[name].low == pytest.approx(values.min(axis=(0, 1)), abs=1e-5)
    assert seen[name].high == pytest.approx(values.max(axis=(0, 1)), abs=1e-5)


@pytest.fixture
def reference(two_layers_onnx: Path, tiny_data: Path) -> ReferenceOutputs:
    return reference_outputs(OnnxPredictor.open(two_layers_onnx, 1), read(tiny_data).validation)


def test_the_observed_range_of_static_activations_is_that_of_their_integers(
    two_layers_onnx: Path, reference: ReferenceOutputs
) -> None:
    fp32 = onnx.load(two_layers_onnx / "onnx" / "model.onnx")
    config = QuantizeConfig(activations="static")
    scheme = scheme_of("static", fp32, reference, reference.encodings, config, threads=1)
    assert scheme.observed.keys() == matmul_inputs(fp32).keys()
    int8 = scheme.rewrite(
        fp32, QuantizationPlan(frozenset(scheme.observed) - {"layer.0.attention.qkv.weight"})
    )  # before it all is fp32
    value = matmul_inputs(fp32)["layer.0.attention.qkv.weight"]
    int8.graph.output.append(
        onnx.helper.make_tensor_value_info(f"{value}.uint8", onnx.TensorProto.UINT8, ["batch", "sequence", 64])
    )
    running = session(int8)
    low, high = np.full(64, 255), np.zeros(64, int)
    for encoding in reference.encodings:
        (found,) = running.run([f"{value}.uint8"], pad([encoding]))
        low, high = np.minimum(low, found.min(axis=(0, 1))), np.maximum(high, found.max(axis=(0, 1)))
    observed = scheme.observed["layer.0.attention.qkv.weight"]
    assert np.abs(observed.low - low).max() <= 2  # the word table is int8 here
    assert np.abs(observed.high - high).max() <= 2


@pytest.mark.parametrize("settings", [{"activations": "static"}, {"for_": "openvino"}, {"calibrate": "percentile"}])
def test_static_graphs_pass_the_gate_into_a_folder(
    settings: dict[str, Any], two_layers_onnx: Path, few_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compress.quantize(two_layers_onnx, few_data, tmp_path / "out", portable=True, max_drop=100, threads=1, **settings)
    metrics = read_manifest(tmp_path / "out").history[-1]["metrics"]
    assert (metrics["activations"], metrics["ranges"] in RANGES) == ("static", True)
    assert metrics["agreement"] > 0.9
    assert metrics["without_vnni"]["left_columns"] == 0
    graph = onnx.load(tmp_path / "out" / "onnx" / "model_quantized.onnx")
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert ("MatMulIntegerToFloat" in kinds, "DequantizeLinear" in kinds) == (
        (True, False) if "activations" in settings else (False, True)
    )
    assert not kinds.keys() & {"DynamicQuantizeLinear", "MatMulInteger"}
    for tensor in graph.graph.initializer:
        if tensor.name.endswith(".weight.int8"):
            weight = onnx.numpy_helper.to_array(tensor)
            assert not saturating(weight, ObservedRange.full(len(weight))).any()
    classifier = compress.load(tmp_path / "out", threads=1)
    found = [answer.label for answer in classifier(read(few_data).validation.texts)]
    right = [label == name for label, (name,) in zip(found, read(few_data).validation.labels, strict=True)]
    assert np.mean(right) == pytest.approx(metrics["quantized"])
    assert "Its activations are static" in (tmp_path / "out" / "README.md").read_text()
    assert "all int8, in the portable range, static activations: accuracy" in capsys.readouterr().err


def test_auto_takes_the_faster_kind_where_both_pass(
    two_layers_onnx: Path, few_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"activations": "auto", "max_drop": 100, "threads": 1}
    metrics = compress.quantize(two_layers_onnx, few_data, tmp_path / "out", **settings).metrics
    speeds = metrics["texts_per_s"]
    assert speeds.keys() == {"dynamic", "static"}
    assert metrics["activations"] == max(speeds, key=speeds.__getitem__)
    graph = tmp_path / "out" / "onnx" / "model_quantized.onnx"
    assert activations_of(operators(graph)) == metrics["activations"]
    assert f"{metrics['activations']} activations are the faster ones" in capsys.readouterr().err


def test_the_gate_refuses_bad_static_ranges_and_auto_takes_the_other_kind(
    two_layers_onnx: Path, reference: ReferenceOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Static ranges that are far too narrow cut nearly all that the products read."""
    monkeypatch.setattr("compress.quantization.activations.RANGES", {"narrow": lambda _: Range(0.0, 1e-6)})
    fp32 = onnx.load(two_layers_onnx / "onnx" / "model.onnx")
    config = QuantizeConfig(activations="auto", max_drop=1)
    found = quantize(fp32, reference, [Encoding([0, 0], [0, 0])], config, threads=1)
    assert found.accepted.scheme.kind == "dynamic"
    assert found.texts_per_s == {}
    assert any("static activations" in name for name in found.failed)
    with pytest.raises(CompressError, match=r"each of \d+ tries loses more on validation than --max-drop 1 allows"):
        quantize(fp32, reference, [Encoding([0, 0], [0, 0])], config.model_copy(update={"activations": "static"}), 1)


def test_settings_that_do_not_fit_are_refused(two_layers_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=r"quantize\.activations should be 'dynamic', 'static' or 'auto', got best"):
        compress.quantize(two_layers_onnx, tiny_data, tmp_path / "out", activations="best")
    with pytest.raises(CompressError, match="activations are static for openvino, got auto; leave activations out"):
        compress.quantize(two_layers_onnx, tiny_data, tmp_path / "out", activations="auto", for_="openvino")
    assert not list(tmp_path.iterdir())
