"""What a call has to compute and to move, and the least time that takes on the card.

Rates are those of NVIDIA's data sheets, dense and without sparsity, for cards whose name says which of them it is; for
any other card none is guessed. The card's own rates for large products and copies are measured beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from compress.benchmark.cost import ProductSizes, macs_per_text, sizes_of_model
from compress.modeling.widths import Widths
from compress.runtime.encoding import Feeds

_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Rates:
    """Of a card: floating point operations a second in units of 10^12, and memory in TB/s; None is not known."""

    fp32: float | None = None
    tf32: float | None = None
    bf16: float | None = None
    fp16: float | None = None
    memory: float | None = None


_HOPPER = {"fp32": 67.0, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4}
_AMPERE = {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0, "fp16": 312.0}
_KNOWN = {
    "NVIDIA H100 80GB HBM3": Rates(**_HOPPER, memory=3.35),
    "NVIDIA H200": Rates(**_HOPPER, memory=4.8),
    "NVIDIA A100-SXM4-80GB": Rates(**_AMPERE, memory=2.039),
    "NVIDIA A100-SXM4-40GB": Rates(**_AMPERE, memory=1.555),
    "Tesla T4": Rates(fp32=8.1, fp16=65.0, memory=0.32),
}


def known_rates(card: str | None) -> Rates:
    """Of the card with this name, by its data sheet."""
    return _KNOWN.get(card or "", Rates())


def least_ms(row: Mapping[str, Any], rates: Mapping[str, float | None]) -> float | None:
    """The time in milliseconds below which a row's call cannot be done; None where a rate is not known."""
    speed, memory = rates.get(row["precision"]), rates.get("memory")
    if speed is None or memory is None:
        return None
    return 1000 * max(float(row["flops"]) / (speed * 1e12), float(row["bytes"]) / (memory * 1e12))


def work_of(model: Any, way: Any, batches: Sequence[Feeds]) -> dict[str, Any]:
    """Of a call on average: ``flops`` of all products, and ``bytes`` that they read and write at least.

    Weights are read once a call. Every product reads its input and writes its output; what a fused kernel keeps to
    itself (scores of the attention, an activation) is not counted, so this is a lower bound. A padded batch computes
    its padding too.
    """
    padded = not hasattr(way, "attention")
    sizes = sizes_of(model, first_token_only=getattr(way, "first_token_only", False))
    flops, moved = [], []
    for feeds in batches:
        lengths = feeds["attention_mask"].sum(axis=1)
        lengths = np.full_like(lengths, feeds["input_ids"].shape[1]) if padded else lengths
        flops.append(2 * sum(macs_per_text(sizes, int(length)) for length in lengths))
        moved.append(_BYTES[way.precision] * _numbers_moved(sizes, int(lengths.sum()), len(lengths)))
    return {"precision": way.precision, "flops": float(np.mean(flops)), "bytes": float(np.mean(moved))}


def sizes_of(model: Any, *, first_token_only: bool) -> ProductSizes:
    """The widths that decide the work of ``model``, a BERT classifier."""
    return replace(sizes_of_model(model), first_token_only=first_token_only)


def describe_models(models: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, widths and work of each model, for the results."""
    return {
        name: {
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "widths": asdict(Widths.of(model)),
            "flops_per_text": {
                str(tokens): 2 * macs_per_text(sizes_of(model, first_token_only=False), tokens)
                for tokens in (25, 32, 128)
            },
        }
        for name, model in models.items()
    }


def _numbers_moved(sizes: ProductSizes, tokens: int, texts: int) -> int:
    hidden, total = sizes.hidden, sizes.head
    last = len(sizes.attention) - 1
    for layer, (attention, neurons) in enumerate(zip(sizes.attention, sizes.neurons, strict=True)):
        rows = texts if sizes.first_token_only and layer == last else tokens
        weights = 4 * hidden * attention + 2 * hidden * neurons
        qkv_and_context = tokens * (hidden + 3 * attention) + tokens * 4 * attention
        output_and_ffn = rows * (attention + hidden) + rows * (2 * hidden + 2 * neurons)
        total += weights + qkv_and_context + output_and_ffn
    return total
