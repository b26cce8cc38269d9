"""What ONNX Runtime runs is what the graph is laid out for; where it is not, users are warned and export goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compress.doctor.speed import explain_speed
from compress.graph.build import graph_of
from compress.graph.checks import check_patterns, expected_patterns
from compress.graph.post_norm import PostNormGraph
from compress.graph.weights import SEPARATE_QKV_FROM, EncoderWeights, LayerWeights, Linear, Norm
from compress.graph.writer import rewrite
from compress.quantization.dynamic import QuantizationPlan, quantizable, quantize_weights
from tests.graph.test_build import MODELS
from tests.tiny import make_bert


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_both_graphs_of_every_kind_run_as_they_are_laid_out(name: str, tmp_path: Path) -> None:
    kind = MODELS[name]
    fp32 = graph_of(make_bert(**kind))
    heads, neurons = kind.get("heads", (4,) * 4), kind.get("neurons", (128,) * len(kind.get("heads", (4,) * 4)))
    attending, feeding = sum(count > 0 for count in heads), sum(count > 0 for count in neurons)
    last = 1 if heads[-1] else 0  # its queries have a product of their own
    wanted = {
        "attention_products": 2 * attending,
        "packed_projections": attending,
        "int8_products": 2 * attending + last + 2 * feeding + 1,
        "activations": feeding + 1,  # and the head's
        "layer_norms": 2 * len(heads) + 1,
        "gathers": 3,
    }
    assert expected_patterns(fp32, ()) == wanted
    assert check_patterns(saved(quantize_weights(fp32), tmp_path), wanted) == {"patterns": wanted}
    without = wanted | {"int8_products": 0}
    assert check_patterns(saved(fp32, tmp_path), expected_patterns(fp32)) == {"patterns": without}


def test_weights_that_stay_fp32_are_not_expected_in_int8(tmp_path: Path) -> None:
    fp32 = graph_of(make_bert())
    kept = [name for name in quantizable(fp32) if "layer.1" in name]
    int8 = quantize_weights(fp32, QuantizationPlan(kept_fp32=frozenset(kept)))
    found = check_patterns(saved(int8, tmp_path), expected_patterns(fp32, kept))
    assert found["patterns"]["int8_products"] == expected_patterns(fp32, ())["int8_products"] - 4
    assert "patterns_expected" not in found


def wide_weights(heads: int) -> EncoderWeights:
    """One layer and a last one of a model that is wide enough for query, key and value apart."""
    random = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)

    def linear(wide: int, high: int) -> Linear:
        return Linear(array(wide, high), array(high))

    def norm() -> Norm:
        return Norm(1 + array(SEPARATE_QKV_FROM), array(SEPARATE_QKV_FROM))

    inner = 64 * heads
    query, key, value = (linear(SEPARATE_QKV_FROM, inner) for _ in range(3))
    layer = LayerWeights(
        heads,
        query,
        key,
        value,
        linear(inner, SEPARATE_QKV_FROM),
        norm(),
        linear(SEPARATE_QKV_FROM, 64),
        linear(64, SEPARATE_QKV_FROM),
        norm(),
    )
    square, head = linear(SEPARATE_QKV_FROM, SEPARATE_QKV_FROM), linear(SEPARATE_QKV_FROM, 2)
    tables = array(108, SEPARATE_QKV_FROM), array(128, SEPARATE_QKV_FROM), array(2, SEPARATE_QKV_FROM)
    return EncoderWeights(*tables, norm(), (layer, layer), square, "tanh", head, 64, 1e-12, "gelu")


def test_wide_models_have_their_projections_apart_and_quantize_what_they_read_once(tmp_path: Path) -> None:
    fp32 = PostNormGraph(wide_weights(heads=3)).build()
    int8 = quantize_weights(fp32)
    expected = expected_patterns(fp32, ())
    assert (expected["packed_projections"], expected["int8_products"]) == (0, 2 * 6 + 1)
    assert check_patterns(saved(int8, tmp_path), expected) == {"patterns": expected}
    kinds = [node.op_type for node in int8.graph.node]
    # A layer reads four values; in the last one the queries are the first token's.
    assert kinds.count("DynamicQuantizeLinear") == 4 + 5 + 1


@pytest.mark.parametrize("kind", expected_patterns(graph_of(make_bert())))
def test_a_miss_is_recorded_by_kind_and_warned_of_in_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fp32 = graph_of(make_bert())
    expected = expected_patterns(fp32)
    count = expected[kind]
    found = check_patterns(saved(fp32, tmp_path), expected | {kind: count + 1})
    assert found == {"patterns": expected, "patterns_expected": {kind: count + 1}}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"warning: model.onnx: this onnxruntime runs {count} {kind} where {count + 1} are expected, so" in line


def test_transposes_that_no_product_takes_in_are_seen(tmp_path: Path) -> None:
    fp32 = graph_of(make_bert())
    names = [f"layer.0.attention.{what}.transposed" for what in ("query", "key")]
    found = check_patterns(saved(rewrite(fp32, outputs=names), tmp_path), expected_patterns(fp32))
    assert (found["patterns"]["attention_products"], found["patterns_expected"]) == (7, {"attention_products": 8})


@pytest.mark.parametrize("events", ["[]", "[{}]", '[{"cat": "Node", "name": "a_kernel_time", "args": {}}]', "{}", "no"])
def test_a_profile_in_another_form_is_said_and_export_goes_on(
    events: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another onnxruntime may write it so."""
    (tmp_path / "profile.json").write_text(events, encoding="utf-8")
    monkeypatch.setattr(ort.InferenceSession, "end_profiling", lambda _: str(tmp_path / "profile.json"))
    fp32 = graph_of(make_bert())
    assert check_patterns(saved(fp32, tmp_path), expected_patterns(fp32)) == {}
    said = capsys.readouterr().err
    assert "is not one that compress can read" in said
    assert said.count("\n") == 1
    (kernels, _) = explain_speed(tmp_path / "model.onnx", "fp32", 16)
    assert not kernels.ok
