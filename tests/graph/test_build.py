"""The fp32 graph: PyTorch's logits for every kind of model, and nothing in it that a runtime would stumble over."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compress.errors import CompressError
from compress.graph.build import graph_of
from compress.graph.checks import check_parity
from compress.graph.post_norm import PostNormGraph
from compress.graph.weights import read_weights
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.encoding import Feeds
from compress.runtime.predictor import Logits
from compress.runtime.session import OnnxPredictor
from tests.tiny import make_bert, make_checkpoint, make_feeds, parts, torch_logits

MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "uneven": {"heads": (4, 1, 3, 2), "neurons": (128, 32, 96, 64)},
    "an inner layer without heads or neurons": {"heads": (4, 0, 2, 1), "neurons": (64, 0, 96, 128)},
    "a first layer without heads or neurons": {"heads": (0, 1, 2, 1), "neurons": (0, 32, 96, 128)},
    "a last layer without heads": {"heads": (4, 3, 2, 0), "neurons": (128, 32, 96, 64)},
    "a last layer without neurons": {"heads": (4, 3, 2, 1), "neurons": (128, 32, 96, 0)},
    "a last layer without either": {"heads": (4, 0, 2, 0), "neurons": (128, 32, 0, 0)},
    "one layer": {"heads": (4,), "neurons": (128,)},
    "relu": {"activation": "relu"},
    "gelu_new": {"activation": "gelu_new", "heads": (4, 2, 0, 1)},
    "1 label": {"labels": 1},
    "5 labels": {"labels": 5},
    "77 labels": {"labels": 77, "neurons": (32, 64, 0, 32)},
}


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MODELS[request.param]


def session(graph: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_logits(running: ort.InferenceSession, feeds: Feeds) -> Logits:
    return np.asarray(running.run(["logits"], feeds)[0])


def test_onnx_answers_as_torch_at_every_shape(kind: dict[str, Any]) -> None:
    model = make_bert(**kind)
    running = session(graph_of(model))
    for batch in (1, 2, 5):
        for length in (1, 2, 7, 33, 128):
            for padded in (False, True):
                feeds = make_feeds(batch, length, padded=padded)
                logits = onnx_logits(running, feeds)
                assert logits.shape == (batch, model.config.num_labels)
                assert logits.dtype == np.float32
                assert np.abs(logits - torch_logits(model, feeds)).max() < 1e-4, (batch, length, padded)


@pytest.mark.parametrize("name", ["plain", "uneven"])
def test_segments_and_masks_matter_in_both_and_what_is_padded_in_neither(name: str) -> None:
    model = make_bert(**MODELS[name])
    running = session(graph_of(model))
    feeds = make_feeds(4, 20, padded=True)
    one_segment = feeds | {"token_type_ids": np.zeros_like(feeds["token_type_ids"])}
    unmasked = feeds | {"attention_mask": np.ones_like(feeds["attention_mask"])}
    other_padding = feeds | {"input_ids": np.where(feeds["attention_mask"] == 1, feeds["input_ids"], 77)}
    answers: list[Callable[[Feeds], Logits]] = [partial(torch_logits, model), partial(onnx_logits, running)]
    for answer in answers:
        assert np.abs(answer(feeds) - answer(one_segment)).max() > 1e-2
        assert np.abs(answer(feeds) - answer(unmasked)).max() > 1e-2
        assert np.abs(answer(feeds) - answer(other_padding)).max() < 1e-5


def test_the_graph_is_valid_portable_and_lean(kind: dict[str, Any]) -> None:
    graph = graph_of(make_bert(**kind))
    onnx.checker.check_model(graph, full_check=True)
    assert graph.ir_version <= 10
    assert [(used.domain, 18 <= used.version <= 20) for used in graph.opset_import] == [("", True)]
    assert {node.domain for node in graph.graph.node} == {""}  # no com.microsoft
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert kinds["Shape"] == 1  # the length, which cuts the table of positions
    assert not kinds.keys() & {"ConstantOfShape", "Constant", "Expand", "Where", "Range", "Identity"}
    assert kinds["Cast"] == 1  # the mask
    assert [value.name for value in graph.graph.input] == ["input_ids", "attention_mask", "token_type_ids"]
    assert {value.type.tensor_type.elem_type for value in graph.graph.input} == {onnx.TensorProto.INT64}
    used = {name for node in graph.graph.node for name in node.input}
    assert {tensor.name for tensor in graph.graph.initializer} <= used
    assert all(min(tensor.dims, default=1) > 0 for tensor in graph.graph.initializer)  # nothing of width 0
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in graph.graph.initializer)  # all inline
    assert len({node.name for node in graph.graph.node}) == len(graph.graph.node)


def test_the_last_layer_computes_the_first_token_alone() -> None:
    graph = graph_of(make_bert())
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    del graph.graph.output[:]
    names = [f"layer.{layer}.ffn.norm" for layer in (2, 3)]
    graph.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None, 64]) for name in names
    )
    running = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inner, last = running.run(names, make_feeds(2, 9))
    assert (inner.shape, last.shape) == ((9, 2, 64), (1, 2, 64))


@pytest.fixture
def checkpoint(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(**MODELS["an inner layer without heads or neurons"]), ("a", "b"))


def exported(checkpoint: Checkpoint, graph: onnx.ModelProto, folder: Path) -> OnnxPredictor:
    onnx.save(graph, folder / "model.onnx")
    return OnnxPredictor(folder / "model.onnx", checkpoint.manifest("onnx"), checkpoint.encoder, threads=1)


def constant(graph: onnx.ModelProto, name: str) -> tuple[onnx.TensorProto, np.ndarray]:
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == name)
    return tensor, onnx.numpy_helper.to_array(tensor).copy()


def test_parity_covers_batches_and_lengths_padded_and_not(checkpoint: Checkpoint, tmp_path: Path) -> None:
    predictor = exported(checkpoint, graph_of(checkpoint.model), tmp_path)
    seen: list[Feeds] = []

    class Watched(TorchPredictor):
        def run(self, feeds: Feeds) -> Logits:
            seen.append(feeds)
            return super().run(feeds)

    parity = check_parity(Watched(checkpoint), predictor, 108, 128, 1e-4)
    assert (parity.batches, parity.longest_tokens) == (len(seen), 128)
    assert 0 < parity.max_logit_difference < 1e-4
    shapes = {feeds["input_ids"].shape for feeds in seen}
    assert {batch for batch, _ in shapes} >= {1, 2, 7, 32}
    assert {2, 128} <= {length for _, length in shapes}
    for shape in ((2, 128), (7, 128), (32, 31)):
        full = {bool(feeds["attention_mask"].all()) for feeds in seen if feeds["input_ids"].shape == shape}
        assert full == {True, False}
    masks = [feeds["attention_mask"] for feeds in seen]
    assert all(mask[:, 0].all() or mask[:, -1].all() for mask in masks)  # padded on one side
    assert not all(mask[:, 0].all() for mask in masks)
    assert any(feeds["token_type_ids"].any() for feeds in seen)


@pytest.mark.parametrize(
    ("name", "where", "change"),
    [
        ("layer.3.ffn.output.bias", 3, 0.01),
        ("layer.0.attention.qkv.weight", (5, 7), 0.3),
        ("positions", (127, 0, 0), 1.0),  # the longest text alone
        ("segments", (1, 9), 0.1),
        ("masked", (), 1e9),  # no mask at all
        ("logits.bias", 0, np.nan),
        ("words", (60, 2), np.nan),
    ],
)
def test_parity_refuses_a_graph_that_is_off(
    checkpoint: Checkpoint, tmp_path: Path, name: str, where: Any, change: float
) -> None:
    graph = graph_of(checkpoint.model)
    tensor, array = constant(graph, name)
    array[where] += change
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    with pytest.raises(CompressError, match="export: a logit differs by"):
        check_parity(TorchPredictor(checkpoint), exported(checkpoint, graph, tmp_path), 108, 128, 1e-4)


def test_a_model_whose_logits_are_nan_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    parts(checkpoint.model).classifier.bias.data[:] = float("nan")
    predictor = exported(checkpoint, graph_of(checkpoint.model), tmp_path)
    with pytest.raises(
        CompressError, match="export: the model given: its answers to 1 of 1 texts are not finite numbers"
    ):
        check_parity(TorchPredictor(checkpoint), predictor, 108, 128, 1e-4)


def test_queries_are_scaled_and_packed_side_by_side() -> None:
    weights = read_weights(make_bert())
    graph = PostNormGraph(weights).build()
    layer = weights.layers[1]
    _, packed = constant(graph, "layer.1.attention.qkv.weight")
    assert np.array_equal(packed, np.concatenate([layer.query.weight, layer.key.weight, layer.value.weight], axis=1))
    model = make_bert()
    query = parts(model).bert.encoder.layer[1].attention.self.query.weight.detach().numpy()
    assert np.allclose(layer.query.weight, query.T / 4)  # the square root of 16
