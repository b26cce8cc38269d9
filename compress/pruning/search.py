"""The widths that keep most importance within a latency: exact, by dynamic programming over layers and latency."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from compress.latency.table import Floats, LatencyTable
from compress.modeling.widths import NEURON_BLOCK, Cut, Widths
from compress.pruning.importance import Importance

# Latency is counted in parts, each a 10,000th of the whole model's; that of a layer is rounded up.
_PARTS = 10_000


class OutOfReachError(Exception):
    """No widths are fast enough; ``fastest_ms`` is the latency of the fastest."""

    def __init__(self, fastest_ms: float) -> None:
        super().__init__(fastest_ms)
        self.fastest_ms = fastest_ms


@dataclass(frozen=True)
class _Options:
    """The choices for one layer: parts of latency (rising), importance kept (rising), heads and neurons."""

    parts: npt.NDArray[np.int64]
    kept: Floats
    heads: npt.NDArray[np.int64]
    neurons: npt.NDArray[np.int64]


class _End(NamedTuple):
    """A last layer that stays, its option, and the importance kept with the best options of the layers before it."""

    kept: float
    layer: int
    option: int


def search(importance: Importance, table: LatencyTable, budget_ms: float) -> Cut:
    """The cut that keeps the largest sum of importance in at most ``budget_ms``, by the table.

    Each layer keeps its most important heads and blocks of neurons, or is removed. The last layer that stays has the
    latency of a last layer.

    Raises:
        OutOfReachError: no cut is fast enough.
    """
    widths = Widths(tuple(map(len, importance.heads)), tuple(map(len, importance.neurons)))
    part_ms = table.latency_ms(widths) / _PARTS
    budget = max(0, int(np.floor((budget_ms - table.base_ms) / part_ms + 1e-9)))
    layers = list(zip(importance.heads, importance.neurons, strict=True))
    inner, last = ([_options(*units, table, part_ms, last=end) for units in layers] for end in (False, True))
    ends, taken = _ends(inner, last, budget)
    if budget_ms < table.base_ms or not ends:
        raise OutOfReachError(table.base_ms + part_ms * min(int(each.parts[0]) for each in last if len(each.parts)))
    chosen = _trace(taken, inner, last, max(ends, key=lambda end: end.kept), budget)
    return Cut(
        heads=[_top(scores, heads) for scores, (heads, _) in zip(importance.heads, chosen, strict=True)],
        neurons=[_top(scores, neurons) for scores, (_, neurons) in zip(importance.neurons, chosen, strict=True)],
    )


def _options(
    heads: torch.Tensor, neurons: torch.Tensor, table: LatencyTable, part_ms: float, *, last: bool
) -> _Options:
    """The choices for one layer that keep more than any faster one; the first of an inner layer is to remove it."""
    attention_ms, ffn_ms = (table.last_attention_ms, table.last_ffn_ms) if last else (table.attention_ms, table.ffn_ms)
    head_counts, neuron_counts = np.arange(len(heads) + 1), _block_counts(len(neurons))
    kept = _sums(heads)[head_counts][:, None] + _sums(neurons)[neuron_counts]
    cost_ms = attention_ms[head_counts][:, None] + ffn_ms[neuron_counts]
    parts = np.ceil(cost_ms / part_ms - 1e-9).astype(np.int64)
    every_heads, every_neurons = (grid.ravel() for grid in np.meshgrid(head_counts, neuron_counts, indexing="ij"))
    kept, parts, living = kept.ravel(), parts.ravel(), np.flatnonzero(every_heads + every_neurons)
    parts[0] = 0  # a layer with neither is removed
    order = living[np.lexsort((-kept[living], parts[living]))]
    before = np.maximum.accumulate(np.concatenate([[-np.inf], kept[order]]))[:-1]
    order = order[kept[order] > before]
    order = order if last else np.concatenate([[0], order])
    return _Options(parts[order], kept[order], every_heads[order], every_neurons[order])


def _ends(inner: list[_Options], last: list[_Options], budget: int) -> tuple[list[_End], list[npt.NDArray[np.int16]]]:
    """The best end with each layer that can be the last, and for each layer the option taken at each budget."""
    best, ends, taken = np.zeros(budget + 1), [], []  # kept by the layers so far within 0, 1, 2, ... parts
    for index, (inside, final) in enumerate(zip(inner, last, strict=True)):
        fits = final.parts <= budget
        if fits.any():
            kept = best[budget - final.parts[fits]] + final.kept[fits]
            ends.append(_End(float(kept.max()), index, int(kept.argmax())))
        best, choice = _with_layer(best, inside)
        taken.append(choice)
    return ends, taken


def _with_layer(best: Floats, options: _Options) -> tuple[Floats, npt.NDArray[np.int16]]:
    """The importance kept by the layers so far and one more, and the option of that layer, for each budget."""
    now, choice = best.copy(), np.zeros(len(best), np.int16)  # the first option is to remove the layer
    for option in range(1, len(options.parts)):
        parts = int(options.parts[option])
        kept = best[: max(0, len(best) - parts)] + options.kept[option]
        better = kept > now[parts:]
        now[parts:][better] = kept[better]
        choice[parts:][better] = option
    return now, choice


def _trace(
    taken: list[npt.NDArray[np.int16]], inner: list[_Options], last: list[_Options], end: _End, budget: int
) -> list[tuple[int, int]]:
    """Heads and neurons of every layer, from the last that stays back to the first."""
    chosen = [(0, 0)] * len(inner)
    final = last[end.layer]
    chosen[end.layer] = int(final.heads[end.option]), int(final.neurons[end.option])
    left = budget - int(final.parts[end.option])
    for before in range(end.layer - 1, -1, -1):
        options, option = inner[before], int(taken[before][left])
        chosen[before] = int(options.heads[option]), int(options.neurons[option])
        left -= int(options.parts[option])
    return chosen


def _block_counts(neurons: int) -> npt.NDArray[np.int64]:
    return np.array(sorted({*range(0, neurons, NEURON_BLOCK), neurons}), dtype=np.int64)


def _sums(scores: torch.Tensor) -> Floats:
    """The importance of the best 0, 1, 2, ... units."""
    ordered = np.sort(scores.double().numpy())[::-1]
    return np.concatenate([[0.0], np.cumsum(ordered)])


def _top(scores: torch.Tensor, count: int) -> list[int]:
    kept: list[int] = torch.argsort(scores, descending=True, stable=True)[:count].tolist()
    return sorted(kept)
