"""What doctor says of a model's speed: the kernels that really run, times that add up, and a floor below them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compress.doctor import Finding, examine
from compress.doctor.speed import explain_speed, floor_ms
from compress.graph.profile import INT8_KERNELS, Product, profile
from compress.graph.writer import WORDS
from compress.machine import usable_cpus
from compress.quantization.dynamic import quantizable
from tests.tiny import make_feeds

ABOUT = ("kernels", "operators", "floor", "threads")


def found(folder: Path) -> dict[str, Finding]:
    return {finding.about: finding for finding in examine(folder)}


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_int8", "tiny_static"])
def test_every_weights_kernel_and_shape_is_told(model: str, tiny_onnx: Path, request: pytest.FixtureRequest) -> None:
    kernels = found(request.getfixturevalue(model))["kernels"]
    products: list[dict[str, Any]] = kernels.figures["products"]
    weights = quantizable(onnx.load(tiny_onnx / "onnx" / "model.onnx"))
    expected = [weight.shape for name, weight in weights.items() if name != WORDS] + [(64, 2)]  # the classifier's
    assert sorted((product["inner"], product["outer"]) for product in products) == sorted(expected)
    in_int8 = [product for product in products if product["int8"]]
    if model == "tiny_onnx":
        assert not in_int8
        assert "int8" not in kernels.text
    else:
        assert len(in_int8) >= len(products) - 2
        assert {product["kernel"] for product in in_int8} <= INT8_KERNELS
        assert in_int8[0]["kernel"] in kernels.text
    assert kernels.text.startswith("layers 0 to 2: 4 ")  # alike; the last layer's query is apart
    assert "; layer 3: 5 " in kernels.text
    assert "; classifier: " in kernels.text
    assert all(product["rows"] in (1, 32) for product in products)


def test_times_add_up_and_lie_above_the_floor(tiny_int8: Path) -> None:
    about = found(tiny_int8)
    assert list(about)[-4:] == list(ABOUT)
    times_us = about["operators"].figures["kernel_us"]
    assert "attention MatMul" in times_us
    assert all(time >= 0 for time in times_us.values())
    assert f"{sum(times_us.values()) / 1000:.2f} ms in" in about["operators"].text
    floor = about["floor"].figures
    assert floor["floor_ms"] > 0
    assert floor["share"] == pytest.approx(floor["floor_ms"] / floor["p50_ms"])
    threads = about["threads"].figures
    assert set(threads["p50_ms"]) == {1, min(2, usable_cpus()), usable_cpus()}
    assert threads["worth"] in threads["p50_ms"]


def test_a_profile_has_every_node_once_and_in_order(tiny_int8: Path) -> None:
    nodes = profile(tiny_int8 / "onnx" / "model_quantized.onnx", make_feeds(1, 9), calls=2)
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    layers = [name.split(".")[1] for name in names if name.startswith("layer.")]
    assert layers == sorted(layers)
    assert not list(Path().glob("*profile*.json"))


def test_the_floor_grows_with_the_work() -> None:
    small = floor_ms([Product(32, 64, 64, int8=True)] * 2)
    large = floor_ms([Product(32, 1024, 1024, int8=True)] * 4 + [Product(1, 64, 2, int8=False)])
    assert small < large
    assert np.isfinite(large)


def test_a_graph_that_calls_itself_int8_and_is_not_is_told(tiny_onnx: Path) -> None:
    first = next(iter(explain_speed(tiny_onnx / "onnx" / "model.onnx", "int8", 128)))
    assert not first.ok
    assert "nothing runs in int8" in first.text
