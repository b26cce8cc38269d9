"""Same answers without VNNI: what could saturate 16 bits, counted exactly, and ranges that prevent it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import compress
from compress.folder import read_manifest
from compress.graph.build import graph_of
from compress.quantization.dynamic import QuantizationPlan, quantize_columns, quantize_weights
from compress.quantization.reference import ReferenceOutputs, reference_outputs
from compress.quantization.saturation import (
    ObservedRange,
    count_risk,
    observe,
    observed_plan,
    portable_plan,
    safe_range,
    saturating,
)
from compress.runtime.session import OnnxPredictor
from tests.graph.test_build import onnx_logits, session
from tests.tiny import make_bert, make_feeds, parts, read

_ON_HASWELL = """
import sys, numpy as np, onnxruntime as ort
feeds = dict(np.load(sys.argv[1]))
for graph, out in zip(sys.argv[2::2], sys.argv[3::2]):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    np.save(out, ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(["logits"], feeds)[0])
"""
_LABELS_ON_HASWELL = """
import json, sys, compress
print(json.dumps([found.label for found in compress.load(sys.argv[1], threads=1)(json.load(sys.stdin))]))
"""


def by_brute_force(integers: np.ndarray, observed: ObservedRange) -> np.ndarray:
    """Every pair of activations at the ends of their ranges."""
    rows, columns = integers.shape
    found = np.zeros(columns, bool)
    for column in range(columns):
        for row in range(0, rows, 2):
            second = row + 1 < rows
            for one in (observed.low[row], observed.high[row]):
                for other in (observed.low[row + 1], observed.high[row + 1]) if second else (0,):
                    total = int(one) * int(integers[row, column])
                    total += int(other) * int(integers[row + 1, column]) if second else 0
                    found[column] |= not -32768 <= total <= 32767
    return found


@given(data=st.data(), rows=st.integers(1, 7), columns=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_saturation_is_counted_exactly(data: st.DataObject, rows: int, columns: int) -> None:
    integers = data.draw(arrays.arrays(np.int8, (rows, columns), elements=st.integers(-127, 127)))
    ends = np.sort(data.draw(arrays.arrays(np.int64, (2, rows), elements=st.integers(0, 255))), axis=0)
    observed = ObservedRange(ends[0], ends[1])
    assert (saturating(integers, observed) == by_brute_force(integers, observed)).all()


def test_only_rows_2k_and_2k_plus_1_are_added_in_16_bits() -> None:
    integers = np.zeros((4, 3), np.int8)
    integers[[0, 1], 0] = integers[[1, 2], 1] = integers[[2, 3], 2] = 127
    assert saturating(integers, ObservedRange.full(4)).tolist() == [True, False, True]


@given(weight=arrays.arrays(np.float32, (8, 4), elements=st.floats(-100, 100, width=16)))
@settings(max_examples=50, deadline=None)
def test_a_safe_range_is_safe_and_the_largest(weight: np.ndarray) -> None:
    uint8 = ObservedRange.full(8)
    largest = safe_range(weight, uint8)
    assert ((largest >= 64) & (largest <= 127)).all()
    assert not saturating(quantize_columns(weight, largest)[0], uint8).any()
    wider = np.minimum(largest + 1, 127)
    assert saturating(quantize_columns(weight, wider)[0], uint8)[largest < 127].all()


@pytest.fixture
def reference(two_layers_onnx: Path, tiny_data: Path) -> ReferenceOutputs:
    return reference_outputs(OnnxPredictor.open(two_layers_onnx, 1), read(tiny_data).validation)


def test_what_is_observed_is_kept_within_range_and_the_rest_is_counted(
    two_layers_onnx: Path, reference: ReferenceOutputs
) -> None:
    model = onnx.load(two_layers_onnx / "onnx" / "model.onnx")
    portable = portable_plan(model)
    ranges = observe(model, portable, reference.sample(20), threads=1)
    assert ranges.keys() == portable.largest.keys()
    for observed in ranges.values():
        assert (observed.low <= observed.high).all()
        assert observed.high.max() == 255  # dynamic quantization uses its whole range on each text
    open_plan = count_risk(model, QuantizationPlan(), ranges, 20)
    narrowed, closed = (count_risk(model, plan, ranges, 20) for plan in (observed_plan(model, ranges), portable))
    assert (open_plan.narrowed_columns, closed.left_columns) == (0, 0)
    assert narrowed.narrowed_columns == narrowed.at_risk_columns == closed.at_risk_columns > 0
    assert open_plan.left_columns >= narrowed.left_columns > 0
    assert closed.matrices == len(ranges)


def test_portable_is_written_into_the_weights_and_told(two_layers_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    compress.quantize(two_layers_onnx, tiny_data, tmp_path / "out", portable=True, max_drop=100, threads=1)
    assert read_manifest(tmp_path / "out").history[-1]["metrics"]["without_vnni"]["left_columns"] == 0
    for tensor in onnx.load(tmp_path / "out" / "onnx" / "model_quantized.onnx").graph.initializer:
        if tensor.name.endswith(".weight.int8"):
            weight = onnx.numpy_helper.to_array(tensor)
            assert not saturating(weight, ObservedRange.full(len(weight))).any(), tensor.name


def haswell() -> str:
    found = shutil.which("qemu-x86_64")
    if found is None:
        pytest.skip("needs qemu-user (apt-get install qemu-user)")
    return found


def run_on_haswell(feeds: Path, graphs: list[Path]) -> list[np.ndarray]:
    """The graphs' logits on an emulated CPU with AVX2 and no VNNI."""
    outs = [graph.with_suffix(".npy") for graph in graphs]
    arguments = [str(path) for pair in zip(graphs, outs, strict=True) for path in pair]
    command = [haswell(), "-cpu", "Haswell", sys.executable, "-c", _ON_HASWELL, str(feeds), *arguments]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return [np.load(out) for out in outs]


@pytest.mark.slow
def test_without_vnni_only_the_full_range_answers_otherwise(tmp_path: Path) -> None:
    """A model with neighbouring large activations and weights: it does saturate, and the portable range mends it."""
    model = make_bert()
    with torch.no_grad():
        for layer in parts(model).bert.encoder.layer:
            layer.attention.output.LayerNorm.bias[:2] = 8
            layer.intermediate.dense.weight[:, :2] = 1
    fp32, feeds = graph_of(model), make_feeds(8, 16, padded=True)
    np.savez(tmp_path / "feeds.npz", **feeds)  # type: ignore[arg-type]  # the stubs take an array for a keyword
    graphs, native = [], []
    for name, plan in {"full": QuantizationPlan(), "portable": portable_plan(fp32)}.items():
        int8 = quantize_weights(fp32, plan)
        onnx.save(int8, tmp_path / f"{name}.onnx")
        graphs.append(tmp_path / f"{name}.onnx")
        native.append(onnx_logits(session(int8), feeds))
    off = [
        float(np.abs(one - other).max())
        for one, other in zip(run_on_haswell(tmp_path / "feeds.npz", graphs), native, strict=True)
    ]
    assert off[0] > 10 * off[1], off
    assert off[1] < 0.05, off


@pytest.mark.slow
def test_a_quantized_models_labels_are_the_same_without_vnni(tiny_int8: Path, tiny_data: Path) -> None:
    texts = read(tiny_data).test.texts
    command = [haswell(), "-cpu", "Haswell", sys.executable, "-c", _LABELS_ON_HASWELL, str(tiny_int8)]
    answered = subprocess.run(command, check=True, capture_output=True, text=True, input=json.dumps(texts))
    here = [found.label for found in compress.load(tiny_int8, threads=1)(texts)]
    there = json.loads(answered.stdout)
    assert np.mean([one == other for one, other in zip(here, there, strict=True)]) >= 0.995
