"""The latency of each attention and FFN block of a model by its width, fitted to the times of whole models.

A model's latency is a base (embeddings, pooler, classifier) and the sum of its blocks. The last layer has entries of
its own, since only the first token is computed after its keys and values. Whole models are timed, and not blocks alone:
alone a block's weights lie in the nearest cache, which in a model they have to share.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from compress.modeling.widths import Widths

Floats = npt.NDArray[np.float64]

# Widths between which a block's time is taken for linear: models even in these widths are timed, no others. Held out,
# uneven MiniLMs were then predicted within 13% of their measured time, 5% on average, and no better with more widths.
NARROWEST_FFN = 32


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of every block that a model may be made of, by its width; all of them rise with the width."""

    base_ms: float  # of what every model has
    attention_ms: Floats  # [heads + 1], not in the last layer; without heads, the cost of a layer with an FFN alone
    ffn_ms: Floats  # [neurons + 1], not in the last layer; 0 without neurons
    last_attention_ms: Floats  # in the last layer; its cost without heads is in the base
    last_ffn_ms: Floats

    def latency_ms(self, widths: Widths) -> float:
        """Of a model of these widths, without its empty layers."""
        return self.base_ms + sum(self.layers_ms(widths))

    def layers_ms(self, widths: Widths) -> tuple[float, ...]:
        """Of each layer; an empty one costs nothing, and the last that is not is the last of the model."""
        layers = list(zip(widths.heads, widths.neurons, strict=True))
        last = max((index for index, layer in enumerate(layers) if any(layer)), default=-1)
        rows = [
            (self.last_attention_ms, self.last_ffn_ms) if index == last else (self.attention_ms, self.ffn_ms)
            for index in range(len(layers))
        ]
        return tuple(
            float(attention_ms[heads] + ffn_ms[neurons]) if heads or neurons else 0.0
            for (heads, neurons), (attention_ms, ffn_ms) in zip(layers, rows, strict=True)
        )


def models_to_time(layers: int, heads: int, neurons: int) -> list[Widths]:
    """The models that a table is fitted to, the whole one first: deep and shallow, each block narrow and wide."""
    few, many = (1, heads // 4, heads // 2), (NARROWEST_FFN, neurons // 4, neurons // 2)
    half = (layers + 1) // 2
    shapes = [
        *((depth, heads, neurons) for depth in (layers, half, 1)),
        *((layers, count, neurons) for count in (0, *few)),
        *((layers, heads, count) for count in (0, *many)),
        *((layers, *narrow) for narrow in ((heads // 2, neurons // 2), (heads // 4, neurons // 4), (1, NARROWEST_FFN))),
        *((half, heads // share, neurons // share) for share in (2, 4)),
        *((1, heads // 2, neurons // 2), (1, 1, NARROWEST_FFN), (1, 0, neurons // 2)),
        *((1, heads, NARROWEST_FFN), (1, 1, 0), (1, 1, neurons)),
    ]
    possible = [shape for shape in shapes if max(shape[1:]) > 0 and shape[1] <= heads and shape[2] <= neurons]
    return [Widths.even(*shape) for shape in dict.fromkeys(possible)]


def fit_table(times_ms: Mapping[Widths, float]) -> LatencyTable:
    """The table that explains the times of whole models best, relative to each; nothing in it falls with the width."""
    heads = max(max(widths.heads) for widths in times_ms)
    neurons = max(max(widths.neurons) for widths in times_ms)
    grids = (
        _grid(heads, 1, heads // 4, heads // 2),
        _grid(neurons, NARROWEST_FFN, neurons // 4, neurons // 2),
        _grid(heads, 1),
        _grid(neurons, NARROWEST_FFN),
    )
    rows, measured = np.array([_row(widths, grids) for widths in times_ms]), np.array(list(times_ms.values()))
    found, _ = nnls(rows / measured[:, None], np.ones(len(measured)))
    steps = iter(found)
    base_ms, layer_ms = float(next(steps)), float(next(steps))
    attention, ffn, last_attention, last_ffn = (_filled(grid, steps) for grid in grids)
    return LatencyTable(base_ms, layer_ms + attention, ffn, last_attention, last_ffn)


def _grid(widest: int, *between: int) -> list[int]:
    return sorted({0, widest, *(width for width in between if width < widest)})


def _row(widths: Widths, grids: tuple[list[int], ...]) -> Floats:
    """How often a model pays the base, a layer, and each step between the widths of the four grids."""
    inner_attention, inner_ffn, last_attention, last_ffn = grids
    layers = len(widths.heads)
    inside = [
        sum((_climbed(grid, width) for width in used[:-1]), np.zeros(len(grid) - 1))
        for grid, used in ((inner_attention, widths.heads), (inner_ffn, widths.neurons))
    ]
    last = [_climbed(last_attention, widths.heads[-1]), _climbed(last_ffn, widths.neurons[-1])]
    return np.concatenate([[1.0, layers - 1.0], *inside, *last])


def _climbed(grid: list[int], width: int) -> Floats:
    """The share of each step of ``grid`` that lies below ``width``."""
    steps = np.diff(grid)
    return np.clip((width - np.array(grid[:-1])) / np.maximum(steps, 1), 0.0, 1.0)


def _filled(grid: list[int], steps: Iterator[float]) -> Floats:
    """Milliseconds at every width from 0 to the last of ``grid``, from those of each step."""
    heights = np.concatenate([[0.0], np.cumsum([next(steps) for _ in grid[1:]])])
    filled: Floats = np.interp(np.arange(grid[-1] + 1), grid, heights)
    return filled
