"""Another program's ONNX file: its precision is that of its weights."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.benchmark.backends.foreign_onnx import read_foreign

FLOAT, FLOAT16, BFLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


@pytest.mark.parametrize(
    ("operator", "weights", "precision"),
    [
        ("MatMul", {FLOAT: 4096, TensorProto.INT64: 9000}, "fp32"),  # positions are no weights
        ("MatMul", {FLOAT: 64, FLOAT16: 4096}, "fp16"),
        ("MatMul", {BFLOAT16: 4096}, "bf16"),
        ("DynamicQuantizeLinear", {TensorProto.INT8: 4096, FLOAT: 9000}, "int8"),
        ("DequantizeLinear", {TensorProto.INT8: 4096, FLOAT: 9000}, "int8"),
        ("DequantizeLinear", {TensorProto.INT4: 4096, FLOAT: 9000}, "int4"),
        ("MatMulNBits", {TensorProto.UINT8: 4096, FLOAT: 9000}, "unknown"),  # packed, of any number of bits
        ("MatMul", {}, "unknown"),
    ],
)
def test_the_precision_is_that_of_the_weights(
    operator: str, weights: dict[int, int], precision: str, tmp_path: Path
) -> None:
    tensors = [
        onnx.TensorProto(name=str(kind), data_type=kind, dims=[2, count // 2], raw_data=bytes(8))
        for kind, count in weights.items()
    ]
    graph = helper.make_graph([helper.make_node(operator, [], ["y"])], "g", [], [], tensors)
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    found = read_foreign(tmp_path / "m.onnx")
    assert (found.operators, found.numbers, found.precision) == ({operator}, weights, precision)


def test_the_files_of_a_graph_are_those_that_it_names(tmp_path: Path) -> None:
    weights = [onnx.numpy_helper.from_array(np.ones(300, dtype=np.float32), name) for name in ("a", "b")]
    model = helper.make_model(helper.make_graph([], "g", [], [], weights))
    onnx.save(model, graph := tmp_path / "model[int8].onnx")
    assert read_foreign(graph).files_beside == []
    onnx.save(model, graph, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "model[int8].onnx.bak").write_bytes(b"other")
    found = read_foreign(graph)
    assert (found.files_beside, found.numbers) == ([tmp_path / "weights.bin"], {FLOAT: 600})
