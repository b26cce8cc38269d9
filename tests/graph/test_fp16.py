"""The fp16 graph: half precision inside and fp32 outside, near PyTorch, and no model that would overflow."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import compress
from compress.benchmark.rows import Row, open_row
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.graph.fp16 import LARGEST, check_range, to_fp16
from compress.modeling.checkpoint import load_classifier, save_checkpoint
from compress.steps.deployment import PARITY_TOLERANCE
from tests.graph.test_build import MODELS, onnx_logits, session
from tests.tiny import make_bert, make_checkpoint, make_feeds, parts, read, torch_logits

GRAPH = "onnx/model_fp16.onnx"


@pytest.fixture(scope="module")
def fp16(tiny_torch: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "fp16"
    compress.export(tiny_torch, out, precision="fp16", threads=1)
    return out


@pytest.mark.parametrize("name", MODELS)
def test_fp16_is_half_the_size_and_near_torch_for_every_kind_of_model(name: str) -> None:
    model = make_bert(**MODELS[name])
    fp32 = graph_of(model)
    before = fp32.SerializeToString()
    halved = to_fp16(fp32)
    assert fp32.SerializeToString() == before
    onnx.checker.check_model(halved, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in halved.graph.initializer}
    assert {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT} == {"logits.weight", "logits.bias"}
    assert {value.type.tensor_type.elem_type for value in halved.graph.input} == {onnx.TensorProto.INT64}
    running = session(halved)
    for feeds in (make_feeds(16, 20, padded=True), make_feeds(1, 6), make_feeds(2, 128, padded=True)):
        logits = onnx_logits(running, feeds)
        assert logits.dtype == np.float32
        assert 0 < np.abs(logits - torch_logits(model, feeds)).max() < 0.03


def test_values_inside_are_fp16_to_the_classifier() -> None:
    inferred = onnx.shape_inference.infer_shapes(to_fp16(graph_of(make_bert())), strict_mode=True)
    floats = {value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type == 1}
    assert floats == {"pooled.fp32", "logits.product"}


@pytest.mark.parametrize("name", ["plain", "a last layer without heads"])
def test_padding_stays_hidden(name: str) -> None:
    model = make_bert(**MODELS[name])
    running = session(to_fp16(graph_of(model)))
    feeds = make_feeds(4, 20, padded=True)
    other = feeds | {"input_ids": np.where(feeds["attention_mask"] == 1, feeds["input_ids"], 77)}
    assert np.isfinite(onnx_logits(running, feeds)).all()
    assert np.array_equal(onnx_logits(running, feeds), onnx_logits(running, other))


def test_half_precision_throughout_stays_within_the_bound(tiny_torch: Path, fp16: Path, tiny_data: Path) -> None:
    """What a GPU does and this CPU does not: every operation of the network rounded to fp16, by PyTorch."""
    model = load_classifier(str(tiny_torch)).model.half()
    classifier = compress.load(fp16, threads=1)
    texts = read(tiny_data).test.texts
    encodings = open_row(Row(tiny_torch), 1).encoder(texts)
    with torch.inference_mode():
        halves = [model(input_ids=torch.tensor([one.ids])).logits[0].float().numpy() for one in encodings]
    assert np.abs(classifier.logits(texts) - np.stack(halves)).max() < PARITY_TOLERANCE["fp16"]


def test_an_fp16_folder_is_loaded_answered_and_says_what_it_is(fp16: Path, tiny_onnx: Path, tiny_data: Path) -> None:
    assert {path.name for path in (fp16 / "onnx").iterdir()} == {"model_fp16.onnx"}
    assert (fp16 / GRAPH).stat().st_size < 0.6 * (tiny_onnx / "onnx" / "model.onnx").stat().st_size
    classifier = compress.load(fp16, threads=1)
    assert classifier.precision == "fp16"
    assert "fp16 is for GPUs" in classifier.reason
    texts = read(tiny_data).test.texts
    expected = compress.load(tiny_onnx, threads=1)(texts)
    assert [answer.label for answer in classifier(texts)] == [answer.label for answer in expected]
    entry = read_manifest(fp16).history[-1]
    assert entry["config"]["precision"] == "fp16"
    assert 1e-6 < entry["metrics"]["max_logit_difference"] <= entry["metrics"]["logit_tolerance"]
    assert 1 < entry["metrics"]["largest_activation"] < LARGEST
    card = (fp16 / "README.md").read_text()
    assert "dtype: 'fp16'" in card
    assert "`onnx/model_fp16.onnx`" in card
    assert "- fp16\n" in card
    assert open_row(Row(fp16), 1).precision == "fp16"  # what bench shows


def test_quantize_asks_for_the_fp32_model(fp16: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="is in fp16; give the fp32 ONNX folder"):
        compress.quantize(fp16, tiny_data, tmp_path / "out")


@pytest.mark.parametrize("settings", [{"single_file": True}, {"for_": "tei"}, {"for_": "triton"}], ids=str)
def test_a_layout_asks_for_a_graph_that_it_can_take(fp16: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="has no fp32 or int8 graph to lay out"):
        compress.export(fp16, tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_overflows_is_refused_with_its_layer_named(tiny_encoder: Path, tmp_path: Path) -> None:
    model = make_bert()
    layer = parts(model).bert.encoder.layer[2]
    layer.intermediate.dense.bias.data[5] = 1e5
    layer.output.dense.weight.data[:, 5] = 0  # so that nothing shows at the end
    save_checkpoint(make_checkpoint(tiny_encoder, model, ("a", "b")), tmp_path / "wide")
    compress.export(tmp_path / "wide", tmp_path / "fp32")
    with pytest.raises(CompressError, match=r"layer\.2\.ffn\.input\S* reaches 1e\+05 and fp16 holds at most 65504"):
        compress.export(tmp_path / "wide", tmp_path / "out", precision="fp16")
    assert {path.name for path in tmp_path.iterdir()} == {"wide", "fp32"}


def test_an_activation_between_two_layers_is_named_though_every_weight_fits() -> None:
    model = make_bert()
    layer = parts(model).bert.encoder.layer[1]
    layer.attention.self.value.weight.data *= 3e3
    layer.attention.output.dense.weight.data *= 3e3
    fp32 = graph_of(model)
    to_fp16(fp32)
    with pytest.raises(CompressError, match=r"layer\.1\.attention\.\S+ reaches"):
        check_range(fp32, [make_feeds(2, 9)], threads=1)
    whole = graph_of(make_bert())
    assert 1 < check_range(whole, [make_feeds(2, 9, padded=True)], threads=1) < 1000
