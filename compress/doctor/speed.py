"""Which kernels run when a model answers, and why it is fast here or not."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from compress.graph.profile import INT8_KERNELS, NodeTime, Product, ProfileError, profile
from compress.machine import is_installed, usable_cpus
from compress.runtime.encoding import Encoding, Feeds, pad
from compress.runtime.graph_file import graph_inputs
from compress.runtime.session import open_session
from compress.workers.timing import median_ms

TOKENS = 32
# Lengths like those of short messages, 26 tokens on average: every call has another shape than the one before.
_REAL_TOKENS = (21, 9, 34, 17, 60, 13, 29, 6, 41, 25)
_CALLS, _UNTIMED_CALLS = 25, 5
_LEAST_GAIN = 1.1  # how many times as fast more threads must be to be worth it
_SHOWN_KERNELS = 6


@dataclass(frozen=True)
class Finding:
    """One fact that doctor reports."""

    about: str
    text: str  # the fact, and what to do if it is not ok
    ok: bool = True
    figures: dict[str, Any] = field(default_factory=dict)  # for --json; empty where the text says it all


def explain_speed(graph: Path, precision: str, max_length: int) -> Iterator[Finding]:
    """Findings on kernels by layer, time by kernel, the least possible time, and the number of threads to use."""
    feeds = _feeds(graph, min(TOKENS, max_length))
    try:
        nodes = profile(graph, feeds, _CALLS, _UNTIMED_CALLS)
    except ProfileError as error:
        yield Finding("kernels", f"{error}, so which ones run is not known", ok=False)
    else:
        yield _kernels(nodes, precision)
        yield _times(nodes, feeds["input_ids"].size)
        yield _floor(graph, nodes, feeds)
    yield _threads(graph, max_length)


def _kernels(nodes: Sequence[NodeTime], precision: str) -> Finding:
    products = [node for node in nodes if node.product]
    counted = [(part, _counted(group)) for part, group in groupby(products, key=_part)]
    alike = [(kernels, [part for part, _ in run]) for kernels, run in groupby(counted, key=lambda each: each[1])]
    shown = "; ".join(f"{_span(parts)}: {kernels}" for kernels, parts in alike)
    ok = precision != "int8" or any(node.kernel in INT8_KERNELS for node in products)
    return Finding(
        "kernels",
        shown if ok else f"{shown}; the graph is int8 but nothing runs in int8: quantize the model again",
        ok,
        {"products": [{"node": node.name, "kernel": node.kernel} | asdict(node.product) for node in products
                      if node.product]},
    )  # fmt: skip


def _part(node: NodeTime) -> str:
    layer = re.match(r"layer\.(\d+)\.", node.name)
    return f"layer {layer[1]}" if layer else "classifier"


def _span(parts: Sequence[str]) -> str:
    """``layer 3``, or for neighbouring parts ``layers 0 to 5``."""
    return parts[0] if len(parts) == 1 else f"{parts[0].replace(' ', 's ')} to {parts[-1].split()[-1]}"


def _counted(nodes: Iterator[NodeTime]) -> str:
    counts = Counter(f"{node.kernel} ({'int8' if node.kernel in INT8_KERNELS else 'fp32'})" for node in nodes)
    return ", ".join(f"{count} {kernel}" for kernel, count in counts.most_common())


def _times(nodes: Sequence[NodeTime], tokens: int) -> Finding:
    times_us: Counter[str] = Counter()
    for node in nodes:
        attends = node.kernel in {"MatMul", "FusedMatMul"} and node.product is None
        times_us["attention MatMul" if attends else node.kernel] += node.p50_us  # type: ignore[assignment]
    total_us = sum(times_us.values())
    top = times_us.most_common(_SHOWN_KERNELS)
    rest_us = total_us - sum(time for _, time in top)
    shares = [f"{kernel} {time / total_us:.0%}" for kernel, time in top]
    shares += [f"the rest {rest_us / total_us:.0%}"] if len(times_us) > len(top) else []
    return Finding(
        "operators",
        f"{total_us / 1000:.2f} ms in {len(nodes)} nodes for {tokens} tokens on one thread: {', '.join(shares)}",
        figures={"tokens": tokens, "nodes": len(nodes), "kernel_us": dict(times_us)},
    )


def _floor(graph: Path, nodes: Sequence[NodeTime], feeds: Feeds) -> Finding:
    if not is_installed("onnx"):
        return Finding("floor", "not measured: it needs the onnx package; pip install 'compress-bert[train]'")
    products = [node.product for node in nodes if node.product]
    least_ms = floor_ms(products)
    p50_ms = _p50_ms(graph, 1, [feeds])
    return Finding(
        "floor",
        f"its {len(products)} products with weights alone take {least_ms:.2f} ms, {least_ms / p50_ms:.0%} of the "
        f"{p50_ms:.2f} ms that {feeds['input_ids'].size} tokens take on one thread",
        figures={"floor_ms": least_ms, "p50_ms": p50_ms, "share": least_ms / p50_ms},
    )


def floor_ms(products: Sequence[Product]) -> float:
    """The least time in ms that a model can take here: ``products`` alone, on one thread, with quantized inputs."""
    from onnx import TensorProto

    from compress.graph.writer import GraphWriter, Shape, model_of

    writer = GraphWriter()
    feeds: Feeds = {}
    inputs: dict[str, Shape] = {}
    outputs: dict[str, Shape] = {}
    for index, product in enumerate(products):
        read = f"{'uint8' if product.int8 else 'fp32'}.{product.rows}.{product.inner}"
        feeds[read] = np.ones((product.rows, product.inner), np.uint8 if product.int8 else np.float32)
        inputs[read] = TensorProto.UINT8 if product.int8 else TensorProto.FLOAT, [product.rows, product.inner]
        # Each product has a weight of its own, as in the model: weights come from memory, not from a cache.
        weight = np.ones((product.inner, product.outer), np.int8 if product.int8 else np.float32)
        kind = "MatMulInteger" if product.int8 else "MatMul"
        result = writer.op(kind, read, writer.constant(f"weight.{index}", weight), name=f"result.{index}")
        outputs[result] = TensorProto.INT32 if product.int8 else TensorProto.FLOAT, [product.rows, product.outer]
    session = open_session(model_of(writer.graph("floor", inputs, outputs)).SerializeToString(), 1)
    return median_ms(lambda each: session.run(None, each), [feeds], _CALLS)


def _threads(graph: Path, max_length: int) -> Finding:
    counts = sorted({1, min(2, usable_cpus()), usable_cpus()})
    batches = [_feeds(graph, min(tokens, max_length)) for tokens in _REAL_TOKENS]
    p50_ms = {count: _p50_ms(graph, count, batches) for count in counts}
    worth = 1
    for count in counts[1:]:
        if p50_ms[count] * _LEAST_GAIN < p50_ms[worth]:
            worth = count
    advice = (
        "more do not pay: use --threads 1, and one instance a CPU for many texts"
        if worth == 1
        else f"use --threads {worth} for one text at a time"
    )
    shown = ", ".join(
        f"{count} {'thread' if count == 1 else 'threads'} {time:.2f} ms" for count, time in p50_ms.items()
    )
    return Finding(
        "threads",
        f"p50 of short texts as they come: {shown}; " + (advice if len(counts) > 1 else "this process has one CPU"),
        figures={"p50_ms": p50_ms, "worth": worth},
    )


def _p50_ms(graph: Path, threads: int, batches: Sequence[Feeds]) -> float:
    session = open_session(graph, threads)
    return median_ms(lambda feeds: session.run(["logits"], feeds), batches, max(_CALLS, 5 * len(batches)))


def _feeds(graph: Path, tokens: int) -> Feeds:
    feeds = pad([Encoding([0] * tokens, [0] * tokens)])
    return {name: feeds[name] for name in graph_inputs(graph)}
