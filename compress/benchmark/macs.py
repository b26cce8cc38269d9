"""Multiply-accumulates of one text, exactly, for any widths that pruning gives."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ATTENTION = re.compile(r"layer\.(\d+)\.attention\.output\.weight(?:\.int8)?$")
_FFN = re.compile(r"layer\.(\d+)\.ffn\.input\.weight(?:\.int8)?$")
_HEAD = re.compile(r"^(?:pooler|logits)\.weight(?:\.int8)?$")


@dataclass(frozen=True, slots=True)
class ProductSizes:
    """The sizes that decide the work.

    Attributes:
        hidden: the width of a token.
        attention: of each layer, the width of all its heads together.
        neurons: of each layer, its FFN neurons.
        head: weights of the classification head, each used once a text.
        first_token_only: whether the last layer computes queries, output and FFN for the first token alone.
    """

    hidden: int
    attention: tuple[int, ...]
    neurons: tuple[int, ...]
    head: int
    first_token_only: bool


def product_sizes(predictor: Any, graph: Path | None) -> ProductSizes | None:
    """Those of a predictor, or of its ONNX file ``graph``; None for a model that is not laid out as ours are."""
    if graph is not None:
        import onnx

        return sizes_of_graph({each.name: tuple(each.dims) for each in onnx.load(graph).graph.initializer})
    return None if predictor.backend == "numpy" else sizes_of_model(predictor.model)


def sizes_of_model(model: Any) -> ProductSizes:
    """Those of a PyTorch model, which computes all tokens in every layer."""
    from compress.families.view import EncoderView

    view = EncoderView(model)
    return ProductSizes(
        hidden=view.hidden_size,
        attention=tuple(layer.heads * layer.head_size for layer in view.layers),
        neurons=tuple(layer.neurons for layer in view.layers),
        head=sum(linear.weight.numel() for linear in view.head),
        first_token_only=False,
    )


def sizes_of_graph(shapes: Mapping[str, Sequence[int]]) -> ProductSizes | None:
    """Those of a graph, read off the shapes ``[in, out]`` of its initializers; None where it is not one of ours."""
    attention = _by_layer(_ATTENTION, shapes, axis=0)
    hidden, neurons = (_by_layer(_FFN, shapes, axis) for axis in (0, 1))
    head = [shape[0] * shape[1] for name, shape in shapes.items() if _HEAD.search(name)]
    if not neurons or attention.keys() - neurons.keys() or len(head) != 2:
        return None
    layers = range(max(neurons) + 1)
    return ProductSizes(
        hidden=max(hidden.values()),
        attention=tuple(attention.get(layer, 0) for layer in layers),  # none of a layer without heads
        neurons=tuple(neurons.get(layer, 0) for layer in layers),
        head=sum(head),
        first_token_only=True,
    )


def macs_per_text(sizes: ProductSizes, tokens: float) -> int:
    """Multiply-accumulates of all matrix products for one text of ``tokens`` tokens."""
    total = float(sizes.head)
    last = len(sizes.attention) - 1
    for layer, (attention, neurons) in enumerate(zip(sizes.attention, sizes.neurons, strict=True)):
        rows = 1.0 if sizes.first_token_only and layer == last else tokens
        keys_and_values = 2 * tokens * sizes.hidden * attention
        query_and_output = 2 * rows * sizes.hidden * attention
        scores_and_context = 2 * rows * tokens * attention
        ffn = 2 * rows * sizes.hidden * neurons
        total += keys_and_values + query_and_output + scores_and_context + ffn
    return round(total)


def _by_layer(pattern: re.Pattern[str], shapes: Mapping[str, Sequence[int]], axis: int) -> dict[int, int]:
    return {int(found[1]): shape[axis] for name, shape in shapes.items() if (found := pattern.search(name))}
