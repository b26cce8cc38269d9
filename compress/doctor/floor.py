"""The least time that a model can take here: its products with weights and nothing else, in one graph."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compress.graph.profile import Product
from compress.graph.writer import IR_VERSION, OPSET
from compress.runtime.session import open_session
from compress.workers.timing import median_ms

_CALLS = 25


def floor_ms(products: Sequence[Product]) -> float:
    """Median time of all ``products`` on one thread; int8 ones read uint8 that is quantized already."""
    session = open_session(_graph(products).SerializeToString(), 1)
    feeds = {
        _reads(product): np.ones((product.rows, product.inner), np.uint8 if product.int8 else np.float32)
        for product in products
    }
    return median_ms(lambda each: session.run(None, each), [feeds], _CALLS)


def _graph(products: Sequence[Product]) -> onnx.ModelProto:
    nodes, results, weights, values = [], [], [], {}
    for index, product in enumerate(products):
        read, weight, result = _reads(product), f"weight.{index}", f"result.{index}"
        kind, reads, gives = (
            ("MatMulInteger", TensorProto.UINT8, TensorProto.INT32)
            if product.int8
            else ("MatMul", TensorProto.FLOAT, TensorProto.FLOAT)
        )
        # A weight of its own for each product, as in the model: they come from memory, not from a cache.
        array = np.ones((product.inner, product.outer), np.int8 if product.int8 else np.float32)
        weights.append(numpy_helper.from_array(array, weight))
        nodes.append(helper.make_node(kind, [read, weight], [result], name=result))
        results.append(helper.make_tensor_value_info(result, gives, [product.rows, product.outer]))
        values[read] = helper.make_tensor_value_info(read, reads, [product.rows, product.inner])
    graph = helper.make_graph(nodes, "floor", list(values.values()), results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    return model


def _reads(product: Product) -> str:
    return f"{'uint8' if product.int8 else 'fp32'}.{product.rows}.{product.inner}"
