"""The static int8 graph: its pattern, that products run in integers, and its way through the gate into a folder."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

import compress
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.graph.build import build_graph
from compress.graph.weights import read_weights
from compress.modeling.torch_predictor import TorchPredictor
from compress.quantization.accuracy_gate import choose_rewrite
from compress.quantization.dynamic import QuantizationPlan, quantizable
from compress.quantization.reference import ReferenceOutputs, reference_outputs
from compress.quantization.saturation import Reach, portable_plan, saturating
from compress.quantization.static import RANGES, collect, products, quantize_static, ranges
from compress.runtime.encoding import Encoding, pad
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


@pytest.mark.parametrize("method", RANGES)
@pytest.mark.parametrize("name", ["plain", "uneven", "a last layer without either", "77 labels"])
def test_products_run_in_integers_and_answer_nearly_as_torch(
    name: str, method: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    model = make_bert(**MODELS[name])
    labels = tuple(f"{number:02}" for number in range(MODELS[name].get("labels", 2)))
    fp32 = build_graph(read_weights(model))
    seen = collect(fp32, TorchPredictor(make_checkpoint(tiny_encoder, model, labels)), texts(32), threads=1)
    int8 = quantize_static(fp32, unsaturated(fp32), ranges(seen, method))
    onnx.checker.check_model(int8, full_check=True)
    assert {node.domain for node in int8.graph.node} == {""}
    used = {value for node in int8.graph.node for value in node.input}
    constants = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    assert constants.keys() <= used
    eights = {name for name, kind in constants.items() if kind == onnx.TensorProto.INT8}
    assert eights == {f"{weight}.int8" for weight in quantizable(fp32)}
    kinds = Counter(node.op_type for node in int8.graph.node)
    assert kinds["QuantizeLinear"] == len(set(products(fp32).values()))  # once for all that read a value
    fused = fused_kinds(int8, tmp_path / "optimized.onnx")
    assert fused["MatMulIntegerToFloat"] == len(products(fp32)) - 1  # all but the pooler's, which has one row a text
    running = session(int8)
    for feeds in (make_feeds(16, 20, padded=True), make_feeds(1, 6)):
        off = np.abs(onnx_logits(running, feeds) - torch_logits(model, feeds))
        assert 0 < off.max() < 0.5  # logits of these models have a spread of about 2


def test_a_texts_answer_does_not_depend_on_its_batch(parent: TorchPredictor) -> None:
    fp32 = build_graph(read_weights(make_bert()))
    int8 = session(quantize_static(fp32, QuantizationPlan(), ranges(collect(fp32, parent, texts(16), 1), "percentile")))
    feeds = make_feeds(8, 20)
    alone = [onnx_logits(int8, {name: array[row : row + 1] for name, array in feeds.items()}) for row in range(8)]
    assert np.abs(onnx_logits(int8, feeds) - np.concatenate(alone)).max() < 1e-5


def test_what_is_collected_is_what_the_products_read(parent: TorchPredictor) -> None:
    fp32, encodings = build_graph(read_weights(make_bert())), texts(4)
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
def reference(tiny_onnx: Path, tiny_data: Path) -> ReferenceOutputs:
    return reference_outputs(OnnxPredictor.open(tiny_onnx, 1), read(tiny_data).validation)


def test_the_reach_of_static_activations_is_that_of_their_integers(
    tiny_onnx: Path, reference: ReferenceOutputs
) -> None:
    fp32 = onnx.load(tiny_onnx / "onnx" / "model.onnx")
    rewrite, reaches = choose_rewrite(fp32, "percentile", portable_plan(fp32), reference, threads=1)
    assert reaches.keys() == products(fp32).keys()
    int8 = rewrite(
        fp32, QuantizationPlan(frozenset(reaches) - {"layer.0.attention.qkv.weight"})
    )  # before it all is fp32
    value = products(fp32)["layer.0.attention.qkv.weight"]
    int8.graph.output.append(
        onnx.helper.make_tensor_value_info(f"{value}.uint8", onnx.TensorProto.UINT8, ["batch", "sequence", 64])
    )
    running = session(int8)
    low, high = np.full(64, 255), np.zeros(64, int)
    for encoding in reference.encodings:
        (found,) = running.run([f"{value}.uint8"], pad([encoding]))
        low, high = np.minimum(low, found.min(axis=(0, 1))), np.maximum(high, found.max(axis=(0, 1)))
    reach = reaches["layer.0.attention.qkv.weight"]
    assert np.abs(reach.low - low).max() <= 2  # the word table is int8 here
    assert np.abs(reach.high - high).max() <= 2


@pytest.mark.parametrize("method", RANGES)
def test_calibrate_writes_a_static_graph_through_the_same_gate(
    method: str, tiny_onnx: Path, tiny_data: Path, tmp_path: Path
) -> None:
    compress.quantize(tiny_onnx, tiny_data, tmp_path / "out", calibrate=method, portable=True, threads=1)
    entry = read_manifest(tmp_path / "out").history[-1]
    assert entry["config"]["calibrate"] == method
    assert entry["metrics"]["agreement"] > 0.9
    assert entry["metrics"]["without_vnni"]["left_columns"] == 0
    graph = onnx.load(tmp_path / "out" / "onnx" / "model_quantized.onnx")
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert kinds["QuantizeLinear"] > 0
    assert not kinds.keys() & {"DynamicQuantizeLinear", "MatMulInteger"}
    for tensor in graph.graph.initializer:
        if tensor.name.endswith(".weight.int8"):
            weight = onnx.numpy_helper.to_array(tensor)
            assert not saturating(weight, Reach.anything(len(weight))).any()
    classifier = compress.load(tmp_path / "out", threads=1)
    found = [answer.label for answer in classifier(read(tiny_data).validation.texts)]
    right = [label == name for label, (name,) in zip(found, read(tiny_data).validation.labels, strict=True)]
    assert np.mean(right) == pytest.approx(entry["metrics"]["quantized"])

    assert "come from the validation texts" in (tmp_path / "out" / "README.md").read_text()


def test_an_unknown_calibration_is_refused(tiny_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=r"quantize\.calibrate should be 'percentile' or 'entropy', got minmax"):
        compress.quantize(tiny_onnx, tiny_data, tmp_path / "out", calibrate="minmax")
    assert not list(tmp_path.iterdir())
