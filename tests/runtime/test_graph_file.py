"""Graphs that are not ours, not whole, or not safe are refused with the reason, by everything that opens one."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import quantize_dynamic

import compress
from compress.doctor import examine
from compress.errors import CompressError
from compress.folder import read_manifest, write_manifest
from compress.runtime.graph_file import check_graph
from compress.runtime.mapped import without_weights
from compress.runtime.session import inputs_of, open_session

GRAPH = "onnx/model.onnx"
POOLED = onnx.helper.make_tensor_value_info("pooled", onnx.TensorProto.FLOAT, ["batch", 64])


def external(location: str) -> Callable[[Path], None]:
    """Move the first weight into a file of that name; the file is there, so only the check can refuse it."""

    def damage(path: Path) -> None:
        model = onnx.load(path)
        tensor = next(one for one in model.graph.initializer if one.name == "words")
        (path.parent / location).resolve().write_bytes(tensor.raw_data)
        entries = {"location": location, "offset": "0", "length": str(len(tensor.raw_data))}
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.extend(onnx.StringStringEntryProto(key=key, value=entries[key]) for key in entries)
        path.write_bytes(model.SerializeToString())

    return damage


def altered(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "foreign": (altered(lambda model: setattr(model, "producer_name", "pytorch")), "made by pytorch, not by compress"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "not a whole ONNX file"),
    "text": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "not a whole ONNX"),
    "no text": (lambda path: path.write_bytes(path.read_bytes().replace(b"MatMul", b"\x98atMul")), "not a whole ONNX"),
    "no name": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"input_ids", b"\x98nput_ids")),
        "cannot load it",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "newer": (altered(lambda model: setattr(model, "ir_version", 14)), "IR version 14, at most 10"),
    "escaping": (external("../../weights.bin"), r"'../../weights.bin', outside its folder"),
    "split": (external("model.onnx_data"), "'model.onnx_data', beside it"),
    "other inputs": (altered(lambda model: setattr(model.graph.input[0], "name", "tokens")), "cannot load it"),
    "other answers": (altered(lambda model: model.graph.output.append(POOLED)), "answers"),
}


@pytest.fixture(params=DAMAGE)
def damaged(request: pytest.FixtureRequest, tiny_onnx: Path, tmp_path: Path) -> tuple[Path, str]:
    """A folder whose digests are right and whose graph is not, and the reason to expect."""
    damage, reason = DAMAGE[request.param]
    folder = tmp_path / "model"
    shutil.copytree(tiny_onnx, folder)
    manifest = read_manifest(folder)
    damage(folder / GRAPH)
    write_manifest(folder, manifest)
    return folder, reason


def test_load_doctor_and_quantize_refuse_it_with_the_reason(
    damaged: tuple[Path, str], tiny_data: Path, tmp_path: Path
) -> None:
    folder, reason = damaged
    read_manifest(folder)
    with pytest.raises(CompressError, match=reason):
        compress.load(folder)
    assert any(re.search(reason, finding.text) and not finding.ok for finding in examine(folder))
    with pytest.raises(CompressError, match=reason):
        compress.quantize(folder, tiny_data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bench_refuses_it_with_the_reason(tiny_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_onnx, folder)
    manifest = read_manifest(folder)
    external("../../weights.bin")(folder / GRAPH)
    write_manifest(folder, manifest)
    with pytest.raises(CompressError, match="outside its folder"):
        compress.bench(folder, tiny_data, tmp_path / "report", seconds=0.1)


def test_every_graph_of_ours_passes(tiny_onnx: Path, tiny_int8: Path) -> None:
    check_graph(tiny_onnx / GRAPH)
    check_graph(tiny_int8 / "onnx" / "model_quantized.onnx")


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, deadline=None)
def test_no_part_of_a_graph_passes_for_the_whole(
    cut: float, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = (tiny_onnx / GRAPH).read_bytes()
    path = tmp_path_factory.getbasetemp() / "cut.onnx"
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(CompressError, match=r"not a whole ONNX file|is empty"):
        check_graph(path)


@given(noise=st.binary(min_size=1, max_size=200))
@settings(max_examples=200, deadline=None)
def test_noise_is_refused_and_never_a_traceback(noise: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.onnx"
    path.write_bytes(noise)
    with pytest.raises(CompressError):
        check_graph(path)


def test_a_file_where_a_folder_is_needed_is_said_so(tiny_onnx: Path) -> None:
    with pytest.raises(CompressError, match="is a file; give the folder"):
        compress.load(tiny_onnx / GRAPH)


def test_a_graph_without_its_weights_answers_bit_for_bit(tiny_onnx: Path, tiny_int8: Path) -> None:
    feeds = {"input_ids": np.arange(12).reshape(2, 6) + 5, "attention_mask": np.ones((2, 6), np.int64)}
    for folder, name in ((tiny_onnx, "model.onnx"), (tiny_int8, "model_quantized.onnx")):
        graph = folder / "onnx" / name
        assert len(without_weights(graph)) < graph.stat().st_size / 2
        whole, mapped = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]), open_session(graph, 1)
        read = {name: feeds.get(name, np.zeros((2, 6), np.int64)) for name in inputs_of(mapped)}
        assert np.array_equal(whole.run(None, read)[0], mapped.run(None, read)[0])


def test_another_programs_graph_whose_fusions_need_the_weights_inside_is_loaded_whole(
    tmp_path: Path,
) -> None:
    """As onnxruntime's own quantization writes it: a product and a bias, here one of more than 4096 bytes."""
    rng, make = np.random.default_rng(0), onnx.helper
    weights = {"weight": rng.normal(size=(8, 1536)), "bias": rng.normal(size=1536)}
    graph = make.make_graph(
        [make.make_node("MatMul", ["x", "weight"], ["xw"]), make.make_node("Add", ["bias", "xw"], ["y"])],
        "linear",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 8])],
        [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1536])],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    fp32, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), fp32)
    quantize_dynamic(fp32, int8)
    read = {"x": rng.normal(size=(3, 8)).astype(np.float32)}
    whole = ort.InferenceSession(int8, providers=["CPUExecutionProvider"])
    assert np.array_equal(whole.run(None, read)[0], open_session(int8, 1, mapped=False).run(None, read)[0])
    with pytest.raises(CompressError, match="cannot load it"):
        open_session(int8, 1)
