"""The widths that keep most importance within a latency: exact, by dynamic programming over layers and latency."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from compress.latency.table import Floats, LatencyTable
from compress.modeling.widths import NEURON_BLOCK, Cut, Widths
from compress.pruning.importance import Importance

# Latency is counted in ticks, each a 10,000th of the whole model's; that of a layer is rounded up.
_TICKS = 10_000


class OutOfReachError(Exception):
    """No widths are fast enough; ``fastest_ms`` is the latency of the fastest."""

    def __init__(self, fastest_ms: float) -> None:
        super().__init__(fastest_ms)
        self.fastest_ms = fastest_ms


@dataclass(frozen=True)
class _Options:
    """The choices for one layer, ``[options]`` each."""

    ticks: npt.NDArray[np.int64]  # latency, rising
    kept: Floats  # importance, rising
    heads: npt.NDArray[np.int64]
    neurons: npt.NDArray[np.int64]


def search(importance: Importance, table: LatencyTable, budget_ms: float) -> Cut:
    """The cut that keeps the largest sum of importance in at most ``budget_ms``, by the table.

    Each layer keeps its most important heads and blocks of neurons, or is removed. The last layer that stays costs what
    the table says of last layers.

    Raises:
        OutOfReachError: no cut is fast enough.
    """
    widths = Widths(tuple(map(len, importance.heads)), tuple(map(len, importance.neurons)))
    tick_ms = table.latency_ms(widths) / _TICKS
    budget = max(0, int(np.floor((budget_ms - table.base_ms) / tick_ms + 1e-9)))
    layers = list(zip(importance.heads, importance.neurons, strict=True))
    inner, last = ([_options(*units, table, tick_ms, last=end) for units in layers] for end in (False, True))
    best, choices = np.full(budget + 1, -np.inf), []  # best[t]: importance kept from this layer up within t ticks
    for as_inner, as_last in zip(reversed(inner), reversed(last), strict=True):
        best, choice = _with_layer(best, as_inner, as_last)
        choices.append(choice)
    if budget_ms < table.base_ms or not np.isfinite(best[-1]):
        fewest_ticks = min(int(options.ticks[0]) for options in last if len(options.ticks))
        raise OutOfReachError(table.base_ms + tick_ms * fewest_ticks)
    chosen = _trace(choices[::-1], inner, last, budget)
    return Cut(
        heads=[_top(scores, heads) for scores, (heads, _) in zip(importance.heads, chosen, strict=True)],
        neurons=[_top(scores, neurons) for scores, (_, neurons) in zip(importance.neurons, chosen, strict=True)],
    )


def _options(
    heads: torch.Tensor, neurons: torch.Tensor, table: LatencyTable, tick_ms: float, *, last: bool
) -> _Options:
    """The choices for one layer that keep more than any faster one; an inner layer's first choice is its removal."""
    attention_ms, ffn_ms = (table.last_attention_ms, table.last_ffn_ms) if last else (table.attention_ms, table.ffn_ms)
    head_counts, neuron_counts = np.arange(len(heads) + 1), _block_counts(len(neurons))
    kept = _sums(heads)[head_counts][:, None] + _sums(neurons)[neuron_counts]
    cost_ms = attention_ms[head_counts][:, None] + ffn_ms[neuron_counts]
    ticks = np.ceil(cost_ms / tick_ms - 1e-9).astype(np.int64)
    every_heads, every_neurons = (grid.ravel() for grid in np.meshgrid(head_counts, neuron_counts, indexing="ij"))
    kept, ticks, nonempty = kept.ravel(), ticks.ravel(), np.flatnonzero(every_heads + every_neurons)
    ticks[0] = 0  # a layer with neither is removed
    order = nonempty[np.lexsort((-kept[nonempty], ticks[nonempty]))]
    before = np.maximum.accumulate(np.concatenate([[-np.inf], kept[order]]))[:-1]
    order = order[kept[order] > before]
    order = order if last else np.concatenate([[0], order])
    return _Options(ticks[order], kept[order], every_heads[order], every_neurons[order])


def _with_layer(best: Floats, as_inner: _Options, as_last: _Options) -> tuple[Floats, npt.NDArray[np.int16]]:
    """The importance kept by this layer and those above it, and this layer's choice, ``[budget + 1]`` each.

    ``best`` is the importance that the layers above keep. A choice from 0 on is an index into ``as_inner``, where 0
    removes the layer. A negative one is an index into ``as_last`` from its end: the layer is the last that stays.
    """
    fitting = np.searchsorted(
        as_last.ticks, np.arange(len(best)), side="right"
    )  # options in each budget; the last keeps most
    kept_as_last = np.concatenate([[-np.inf], as_last.kept])[fitting]
    kept_with_this_layer = np.maximum(best, kept_as_last)
    choice = np.where(kept_as_last >= best, fitting - 1 - len(as_last.ticks), 0).astype(np.int16)
    for option in range(1, len(as_inner.ticks)):
        ticks = int(as_inner.ticks[option])
        kept = best[: max(0, len(best) - ticks)] + as_inner.kept[option]
        better = kept > kept_with_this_layer[ticks:]
        kept_with_this_layer[ticks:][better] = kept[better]
        choice[ticks:][better] = option
    return kept_with_this_layer, choice


def _trace(
    choices: list[npt.NDArray[np.int16]], inner: list[_Options], last: list[_Options], budget: int
) -> list[tuple[int, int]]:
    """The heads and neurons that every layer keeps by the ``choices`` of :func:`_with_layer`; 0 and 0 if removed."""
    chosen = [(0, 0)] * len(inner)
    for layer, (choice, as_inner, as_last) in enumerate(zip(choices, inner, last, strict=True)):
        option = int(choice[budget])
        options = as_inner if option >= 0 else as_last
        chosen[layer] = int(options.heads[option]), int(options.neurons[option])
        budget -= int(options.ticks[option])
        if option < 0:  # the last layer that stays
            break
    return chosen


def _block_counts(neurons: int) -> npt.NDArray[np.int64]:
    return np.array(sorted({*range(0, neurons, NEURON_BLOCK), neurons}), dtype=np.int64)


def _sums(scores: torch.Tensor) -> Floats:
    """The total importance of the best 0, 1, 2, ... units, ``[units + 1]``."""
    ordered = np.sort(scores.double().numpy())[::-1]
    return np.concatenate([[0.0], np.cumsum(ordered)])


def _top(scores: torch.Tensor, count: int) -> list[int]:
    kept: list[int] = torch.argsort(scores, descending=True, stable=True)[:count].tolist()
    return sorted(kept)
