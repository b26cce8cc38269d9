"""What a model costs besides time: the record of it, multiply-accumulates and peak memory."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from compress.runtime.graph_file import graphs_of

_ATTENTION = re.compile(r"layer\.(\d+)\.attention\.output\.weight")
_FFN = re.compile(r"layer\.(\d+)\.ffn\.input\.weight")
_DISTANCES = re.compile(r"layer\.\d+\.attention\.(position_(?:keys|queries))\.table")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs besides its latency; None where this machine or model does not show a figure."""

    macs: int | None  # multiply-accumulates for a text of mean_tokens tokens
    mean_tokens: float  # the mean length of the timed texts
    tokenizer_p50_ms: float  # from a text to its token ids; part of a cascade's latency, not of other models'
    load_ms: float  # importing the runtime and opening the model, with its files in the system's cache or not
    first_answer_ms: float  # the first text through tokenizer and model
    peak_memory_bytes: int | None  # the most that the worker held, answering the test split in batches included
    peak_gpu_memory_bytes: int | None  # the most that the worker's tensors held on the GPU
    # For texts one at a time: energy of all CPU packages, idle cores included, and of the GPU if the model ran there.
    joules_per_text: float | None
    price_per_million_texts: float | None = None  # at the best rate of real texts, in the currency of price_per_hour


@dataclass(frozen=True, slots=True)
class ProductSizes:
    """The sizes of a model's matrix products, from which its multiply-accumulates follow."""

    hidden: int  # the width of a token
    attention: tuple[int, ...]  # of each layer, the width of all its heads together
    neurons: tuple[int, ...]  # of each layer, in its FFN
    head: int  # weights of the classification head, each used once a text
    first_token_only: bool  # whether the last layer computes queries, output and FFN for the first token alone
    gated: bool = False  # whether the FFN has gates, as many as neurons, from a product of their own
    projection: int = 0  # weights of the matrix after the embeddings, each used once a token
    # DeBERTa's products of each token with distance vectors (c2p, p2c), in every layer with heads: 0 to 2.
    distances: int = 0
    distance_rows: int | None = None  # how many distance vectors there are; None: only those that the text needs
    distance_projections: int = 0  # products that compute the distance vectors again for each text


def product_sizes(predictor: Any, folder: Path) -> ProductSizes | None:
    """The sizes of an opened model, which lies in ``folder``; None for a graph that is not laid out as ours are."""
    if predictor.backend.startswith("torch"):
        return sizes_of_model(predictor.model)
    graph = next(iter(graphs_of(folder).values()), None)
    if graph is None:
        return None
    import onnx

    return sizes_of_graph({each.name: tuple(each.dims) for each in onnx.load(graph).graph.initializer})


def sizes_of_model(model: Any) -> ProductSizes:
    """The sizes of a PyTorch model, which computes all tokens in every layer."""
    from compress.families.view import EncoderView

    view = EncoderView(model)
    table, _ = view.relative_positions
    kinds = sum(kind in (view.config.pos_att_type or ()) for kind in ("c2p", "p2c")) if table else 0
    return ProductSizes(
        hidden=view.hidden_size,
        attention=tuple(layer.heads * layer.head_size for layer in view.layers),
        neurons=tuple(layer.neurons for layer in view.layers),
        head=sum(linear.weight.numel() for linear in view.head),
        first_token_only=False,
        gated=view.family.parts.fused,
        projection=view.projection.weight.numel() if view.projection else 0,
        distances=kinds,
        distance_rows=table.num_embeddings if table else None,
        # With share_att_key transformers projects the vectors by key and by query, whichever kinds it then uses.
        distance_projections=2 if table and view.config.share_att_key else kinds,
    )


def sizes_of_graph(shapes: Mapping[str, Sequence[int]]) -> ProductSizes | None:
    """The sizes of a graph from the shapes ``[in, out]`` of its initializers; None where it is not one of ours."""
    from compress.graph.writer import MEAN

    shapes = {name.removesuffix(".int8"): shape for name, shape in shapes.items()}
    attention, neurons = _by_layer(_ATTENTION, shapes, axis=0), _by_layer(_FFN, shapes, axis=1)
    hidden = _by_layer(_FFN, shapes, axis=0) | _by_layer(_ATTENTION, shapes, axis=1)
    if not hidden or not {"pooler.weight", "logits.weight"} <= shapes.keys():
        return None
    layers = range(max(hidden) + 1)
    return ProductSizes(
        hidden=max(hidden.values()),
        attention=tuple(attention.get(layer, 0) for layer in layers),  # 0 without heads
        neurons=tuple(neurons.get(layer, 0) for layer in layers),  # 0 without an FFN
        head=prod(shapes["pooler.weight"]) + prod(shapes["logits.weight"]),
        first_token_only=MEAN not in shapes,
        gated=any(name.endswith(".ffn.gate.weight") for name in shapes),
        projection=prod(shapes.get("embeddings.projection.weight", [0])),
        distances=len({match[1] for name in shapes if (match := _DISTANCES.fullmatch(name))}),
    )


def macs_per_text(sizes: ProductSizes, tokens: float) -> int:
    """Multiply-accumulates of all matrix products for one text of ``tokens`` tokens."""
    total = sizes.head + tokens * sizes.projection
    last = len(sizes.attention) - 1
    for layer, (attention, neurons) in enumerate(zip(sizes.attention, sizes.neurons, strict=True)):
        rows = 1.0 if sizes.first_token_only and layer == last else tokens
        keys_and_values = 2 * tokens * sizes.hidden * attention
        query_and_output = 2 * rows * sizes.hidden * attention
        scores_and_context = 2 * rows * tokens * attention
        ffn = (3 if sizes.gated else 2) * rows * sizes.hidden * neurons
        total += keys_and_values + query_and_output + scores_and_context + ffn
        # Between L tokens there are 2 L distances; from the first token alone there are L.
        vectors = sizes.distance_rows or (tokens if rows < tokens else 2 * tokens)
        total += sizes.distances * rows * vectors * attention
        total += sizes.distance_projections * (sizes.distance_rows or 0) * sizes.hidden * attention
    return round(total)


def _by_layer(pattern: re.Pattern[str], shapes: Mapping[str, Sequence[int]], axis: int) -> dict[int, int]:
    return {int(match[1]): shape[axis] for name, shape in shapes.items() if (match := pattern.fullmatch(name))}


def peak_memory_bytes() -> int | None:
    """The most memory that this process held; ``ru_maxrss`` would count what the parent held before the fork too."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(peak[1]) if peak else None


def gpu_memory_bytes() -> int:
    """The most bytes that PyTorch's tensors held on the GPU."""
    import torch

    return torch.cuda.max_memory_allocated()
