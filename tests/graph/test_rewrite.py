"""Rewrites are copies, and a graph is fed what it reads: families without segments have two inputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import compress
from compress.errors import CompressError
from compress.graph.build import graph_of
from compress.graph.with_tokenizer import TEXTS
from compress.graph.writer import constants_of, rewrite
from compress.modeling.checkpoint import Checkpoint
from compress.packaging.layout import finish_onnx_folder, single_file, triton
from compress.quantization.dynamic import quantize_weights
from compress.quantization.reference import Candidate
from compress.runtime.graph_file import FP32_GRAPH, REQUIRED_INPUTS, graph_inputs
from compress.runtime.session import OnnxPredictor
from tests.graph.test_build import onnx_logits, session
from tests.tiny import make_bert, make_checkpoint, make_feeds, write_onnx


def test_a_rewrite_is_a_copy_with_what_it_was_given() -> None:
    model = graph_of(make_bert())
    before, constants = model.SerializeToString(), constants_of(model)
    other = constants | {"logits.bias": constants["logits.bias"] + 1}
    copy = rewrite(model, constants=other, outputs=["pooled"])
    assert model.SerializeToString() == before
    assert rewrite(model).SerializeToString() == before
    assert list(constants_of(copy)) == list(constants)
    logits, pooled = session(copy).run(None, make_feeds(3, 7))
    assert logits - 1 == pytest.approx(onnx_logits(session(model), make_feeds(3, 7)), abs=1e-6)
    assert pooled.shape == (3, 64)


def without_segments(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` as a family without segments has it: all tokens are of the first."""
    zeros = onnx.helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"], name="token_type_ids")
    copy = rewrite(model, [zeros, *model.graph.node])
    del copy.graph.input[2]
    return copy


@pytest.fixture
def checkpoint(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(), ("a", "b"))


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """An ONNX folder whose graph has two inputs."""
    write_onnx(checkpoint, tmp_path / "two", without_segments(graph_of(checkpoint.model)))
    return tmp_path / "two"


def test_a_graph_of_two_inputs_is_run_judged_and_quantized(folder: Path, checkpoint: Checkpoint) -> None:
    assert graph_inputs(folder / FP32_GRAPH) == REQUIRED_INPUTS
    predictor, feeds = OnnxPredictor.open(folder, threads=1), make_feeds(4, 9, padded=True)
    whole = session(graph_of(checkpoint.model))
    expected = onnx_logits(whole, feeds | {"token_type_ids": np.zeros_like(feeds["token_type_ids"])})
    assert np.abs(predictor.run(feeds) - expected).max() < 1e-5
    int8 = quantize_weights(onnx.load(folder / FP32_GRAPH))
    assert np.abs(Candidate(int8, predictor, 1).run(feeds) - expected).max() < 0.5


def test_what_is_written_of_a_graph_names_its_own_inputs(folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert "inputs `input_ids`, `attention_mask` (int64" in (folder / "README.md").read_text()
    manifest = checkpoint.manifest("onnx")
    (tmp_path / "triton").mkdir()
    triton(folder, manifest, tmp_path / "triton")
    assert "token_type_ids" not in (tmp_path / "triton/classifier/config.pbtxt").read_text()
    (tmp_path / "single").mkdir()
    single_file(folder, manifest, tmp_path / "single")
    assert graph_inputs(tmp_path / "single/model.onnx") == TEXTS[:1]


def test_a_graph_that_reads_what_no_tokenizer_gives_is_refused(folder: Path, checkpoint: Checkpoint) -> None:
    model = onnx.load(folder / FP32_GRAPH)
    model.graph.input.append(onnx.helper.make_tensor_value_info("entities", onnx.TensorProto.INT64, ["batch"]))
    onnx.save(model, folder / FP32_GRAPH)
    finish_onnx_folder(folder, "two", checkpoint.manifest("onnx"))
    with pytest.raises(CompressError, match=r"reads attention_mask, entities, input_ids and answers"):
        compress.load(folder)
