"""The widths that keep most importance within a latency: exact, by dynamic programming over layers and latency."""

from dataclasses import dataclass

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
    best, taken = np.full(budget + 1, -np.inf), []  # kept by the layers from this one up within 0, 1, 2, ... parts
    for inside, final in zip(reversed(inner), reversed(last), strict=True):
        best, choice = _with_layer(best, inside, final)
        taken.append(choice)
    if budget_ms < table.base_ms or not np.isfinite(best[-1]):
        raise OutOfReachError(table.base_ms + part_ms * min(int(each.parts[0]) for each in last if len(each.parts)))
    chosen = _trace(taken[::-1], inner, last, budget)
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


def _with_layer(best: Floats, inside: _Options, final: _Options) -> tuple[Floats, npt.NDArray[np.int16]]:
    """The importance kept by this layer and those above it, and the option of this one, for each budget.

    Options from 0 on are of ``inside``, of which the first removes the layer; below 0 the layer is the last that stays.
    """
    fitting = np.searchsorted(final.parts, np.arange(len(best)), side="right")  # of which the last keeps most
    ends = np.concatenate([[-np.inf], final.kept])[fitting]
    now = np.maximum(best, ends)
    choice = np.where(ends >= best, fitting - 1 - len(final.parts), 0).astype(np.int16)
    for option in range(1, len(inside.parts)):
        parts = int(inside.parts[option])
        kept = best[: max(0, len(best) - parts)] + inside.kept[option]
        better = kept > now[parts:]
        now[parts:][better] = kept[better]
        choice[parts:][better] = option
    return now, choice


def _trace(
    taken: list[npt.NDArray[np.int16]], inner: list[_Options], last: list[_Options], left: int
) -> list[tuple[int, int]]:
    """Heads and neurons of every layer, from the first to the last that stays."""
    chosen = [(0, 0)] * len(inner)
    for layer, (choice, inside, final) in enumerate(zip(taken, inner, last, strict=True)):
        option = int(choice[left])
        options = inside if option >= 0 else final
        chosen[layer] = int(options.heads[option]), int(options.neurons[option])
        left -= int(options.parts[option])
        if option < 0:
            break
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
