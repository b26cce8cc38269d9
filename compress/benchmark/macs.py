"""Multiply-accumulates of one text, exactly, whatever widths pruning left."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ATTENTION = re.compile(r"layer\.(\d+)\.attention\.output\.(?:dense\.)?weight(?:\.int8)?$")
_FFN = re.compile(r"layer\.(\d+)\.(?:intermediate\.dense|ffn\.input)\.weight(?:\.int8)?$")
_HEAD = re.compile(r"^(?:bert\.pooler\.dense|pooler|classifier|logits)\.weight(?:\.int8)?$")


@dataclass(frozen=True, slots=True)
class ProductSizes:
    """The sizes that decide the work.

    Attributes:
        hidden: the width of a token.
        attention: of each layer, the width of all its heads together.
        neurons: of each layer, its FFN neurons.
        head: weights of pooler and classifier, each used once a text.
        first_token_only: whether the last layer computes queries, output and FFN for the first token alone.
    """

    hidden: int
    attention: tuple[int, ...]
    neurons: tuple[int, ...]
    head: int
    first_token_only: bool


def widths_of(shapes: Mapping[str, Sequence[int]], *, onnx: bool) -> ProductSizes | None:
    """Read off the shapes of a classifier's weights by name; None for one that is not laid out as ours are.

    Args:
        shapes: PyTorch's ``[out, in]`` by state name, or ONNX's ``[in, out]`` by initializer.
        onnx: which of the two; our graphs compute only what the classifier reads.
    """
    attention = _by_layer(_ATTENTION, shapes, inner=0 if onnx else 1)
    neurons = _by_layer(_FFN, shapes, inner=1 if onnx else 0)
    head = [shape[0] * shape[1] for name, shape in shapes.items() if _HEAD.search(name)]
    if not neurons or attention.keys() - neurons.keys() or len(head) != 2:
        return None
    hidden = next(shape[0 if onnx else 1] for name, shape in shapes.items() if _FFN.search(name))
    layers = range(max(neurons) + 1)
    return ProductSizes(
        hidden=hidden,
        attention=tuple(attention.get(layer, 0) for layer in layers),  # none of a layer without heads
        neurons=tuple(neurons.get(layer, 0) for layer in layers),
        head=sum(head),
        first_token_only=onnx,
    )


def macs_per_text(widths: ProductSizes, tokens: float) -> int:
    """Multiply-accumulates of all matrix products for one text of ``tokens`` tokens."""
    total = float(widths.head)
    last = len(widths.attention) - 1
    for layer, (attention, neurons) in enumerate(zip(widths.attention, widths.neurons, strict=True)):
        rows = 1.0 if widths.first_token_only and layer == last else tokens
        keys_and_values = 2 * tokens * widths.hidden * attention
        query_and_output = 2 * rows * widths.hidden * attention
        scores_and_context = 2 * rows * tokens * attention
        ffn = 2 * rows * widths.hidden * neurons
        total += keys_and_values + query_and_output + scores_and_context + ffn
    return round(total)


def weight_shapes(predictor: Any, graph: Any) -> dict[str, tuple[int, ...]]:
    """The shapes that :func:`widths_of` reads: of a PyTorch predictor, or of the ONNX file ``graph``."""
    if predictor.backend == "numpy":
        return {}
    if graph is None:
        return {name: tuple(weight.shape) for name, weight in predictor.model.named_parameters()}
    import onnx

    return {each.name: tuple(each.dims) for each in onnx.load(graph).graph.initializer}


def _by_layer(pattern: re.Pattern[str], shapes: Mapping[str, Sequence[int]], inner: int) -> dict[int, int]:
    return {int(found[1]): shape[inner] for name, shape in shapes.items() if (found := pattern.search(name))}
