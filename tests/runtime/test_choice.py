"""Which graph a folder answers with: int8 where the CPU runs it well, and the reason is said."""

import shutil
from pathlib import Path

import pytest

import compress
from compress.errors import CompressError
from compress.folder import read_manifest, write_manifest
from compress.runtime.graph_file import choose_graph

VNNI = frozenset({"avx2", "avx512_vnni"})
OLD = frozenset({"avx2"})


@pytest.fixture
def both(tiny_onnx: Path, tiny_int8: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "both"
    shutil.copytree(tiny_int8, folder)
    shutil.copy(tiny_onnx / "onnx" / "model.onnx", folder / "onnx")
    write_manifest(folder, read_manifest(folder))
    return folder


@pytest.mark.parametrize(
    ("flags", "graph", "reason"),
    [
        (VNNI, "model_quantized.onnx", "this CPU has int8 dot products (avx512_vnni)"),
        (frozenset({"asimddp"}), "model_quantized.onnx", "this CPU has int8 dot products (asimddp)"),
        (OLD, "model.onnx", "this CPU has no int8 dot products (VNNI)"),
        (frozenset(), "model_quantized.onnx", "this system does not tell what its CPU has"),
    ],
)
def test_of_two_graphs_the_cpu_decides(both: Path, flags: frozenset[str], graph: str, reason: str) -> None:
    choice = choose_graph(both, flags)
    assert (choice.graph.name, choice.reason) == (graph, reason)


@pytest.mark.parametrize("flags", [VNNI, OLD])
def test_an_only_graph_is_taken_on_any_cpu(tiny_onnx: Path, tiny_int8: Path, flags: frozenset[str]) -> None:
    for folder, graph in ((tiny_onnx, "model.onnx"), (tiny_int8, "model_quantized.onnx")):
        choice = choose_graph(folder, flags)
        assert choice.graph == folder / "onnx" / graph
        assert choice.reason.startswith("the folder's only graph; this CPU has ")


def test_a_classifier_says_what_it_runs_and_why(both: Path, tiny_onnx: Path, tiny_int8: Path) -> None:
    found = compress.load(both, threads=1)
    same = compress.load(tiny_int8 if found.precision == "int8" else tiny_onnx, threads=1)
    assert found.reason == choose_graph(both).reason
    assert repr(found) == f"Classifier(single_label, 2 labels, {found.precision}: {found.reason})"
    assert found("good") == same("good")


def test_a_folder_without_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CompressError, match=r"has none of onnx/model_quantized.onnx, onnx/model.onnx, onnx/model_fp16.onnx; export"
    ):
        choose_graph(tmp_path)
