"""The latency of each attention and FFN block of a model by its width, fitted to the times of whole models.

A model's latency is a base (embeddings, pooler, classifier) and the sum of its blocks. The last layer has entries of
its own, since only the first token is computed after its keys and values. Models are timed as a whole, because the
weights of a block that runs alone stay in the nearest cache, which in a model all blocks share.

Each model takes turns with the whole one, and only the ratio of the two is kept: a machine whose clock drifts, or that
somebody else uses too, slows both. Times are stored; an interrupted run continues after the last model that it timed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from compress.durable import parse_json, put_in_place, sync
from compress.errors import CompressError
from compress.latency.deployment import Deployment
from compress.latency.timer import Timer
from compress.machine import cache_root
from compress.modeling.widths import Architecture, Widths
from compress.progress import progress
from compress.workers.timing import calls_per_turn, in_turn

Floats = npt.NDArray[np.float64]

# A block's time is taken to be linear between few measured widths: of neurons these, a quarter, a half and all. How
# well the table then predicts uneven models is in benchmarks/results/latency_table.json.
NARROWEST_FFN = 32
_ROUNDS = 10  # even, so that each of the two models goes first as often as second
_TURN_S = 0.1
_CALLS_AT_LEAST, _CALLS_AT_MOST = 8, 64
_PROCESSES = 2
_START_S = 1.0  # until a new process has opened a model
_PROTOCOL = 2  # how models are timed; with another number, cached tables are measured anew

StartTimer = Callable[[], AbstractContextManager[Timer]]


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of every block that a model may be made of, by its width; they never fall with the width."""

    base_ms: float  # what every model has: embeddings, pooler, classifier
    attention_ms: Floats  # [heads + 1], not in the last layer; without heads, the cost of a layer with an FFN alone
    ffn_ms: Floats  # [neurons + 1], not in the last layer; 0 without neurons
    last_attention_ms: Floats  # [heads + 1], in the last layer; its cost without heads is in the base
    last_ffn_ms: Floats  # [neurons + 1], in the last layer

    def latency_ms(self, widths: Widths) -> float:
        """The latency of a model of these widths, without its empty layers, in ms."""
        return self.base_ms + sum(self.layers_ms(widths))

    def layers_ms(self, widths: Widths) -> tuple[float, ...]:
        """The latency of each layer in ms; empty layers cost nothing, and the last of the others counts as the last."""
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


@dataclass(frozen=True)
class Timing:
    """One model timed against the whole one."""

    ratio: float  # the model's time divided by the whole one's
    whole_ms: float


class ModelShape(NamedTuple):
    """A model's shape: with the deployment, all that its latency depends on."""

    architecture: Architecture
    widths: Widths


def latency_table(architecture: Architecture, whole: Widths, deployment: Deployment) -> LatencyTable:
    """The table for models made of parts of ``whole``; it is measured once and stored in the user's cache."""
    widest = _widest(whole)
    place = _place(architecture, widest, deployment)
    timings = read_timings(place)
    models = models_to_time(*widest)
    missing = [widths for widths in models if widths not in timings]
    if missing:
        with (
            progress("latency table", len(models), len(models) - len(missing)) as advance,
            deployment.timer(architecture, models[0]) as reference,
        ):
            for widths in missing:
                with deployment.timer(architecture, widths) as model:
                    timings[widths] = time_against(model, reference)
                write_timings(place, timings)
                advance()
    whole_ms = float(np.median([timing.whole_ms for timing in timings.values()]))
    return fit_table({widths: timings[widths].ratio * whole_ms for widths in models})


def models_to_time(layers: int, heads: int, neurons: int) -> list[Widths]:
    """The models that a table is fitted to, the whole one first: deep and shallow ones, with narrow and wide blocks."""
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


def expected_seconds(models: int, whole_ms: float) -> float:
    """About the seconds of timing ``models`` models; a call takes ``whole_ms`` in the whole one, half in the others."""
    turn_s = max(_TURN_S, _CALLS_AT_LEAST * whole_ms / 1000)
    return models * (_START_S + 1.5 * (_ROUNDS + 1) * turn_s)


def fit_table(times_ms: Mapping[Widths, float]) -> LatencyTable:
    """The table with the least squared relative error on the models' times; nothing in it falls with the width."""
    heads = max(max(widths.heads) for widths in times_ms)
    neurons = max(max(widths.neurons) for widths in times_ms)
    grids = (
        _grid(heads, 1, heads // 4, heads // 2),
        _grid(neurons, NARROWEST_FFN, neurons // 4, neurons // 2),
        _grid(heads, 1),
        _grid(neurons, NARROWEST_FFN),
    )
    rows, measured = np.array([_row(widths, grids) for widths in times_ms]), np.array(list(times_ms.values()))
    solution, _ = nnls(rows / measured[:, None], np.ones(len(measured)))
    steps = iter(solution)
    base_ms, layer_ms = float(next(steps)), float(next(steps))
    attention, ffn, last_attention, last_ffn = (_filled(grid, steps) for grid in grids)
    return LatencyTable(base_ms, layer_ms + attention, ffn, last_attention, last_ffn)


def _grid(widest: int, *between: int) -> list[int]:
    return sorted({0, widest, *(width for width in between if width < widest)})


def _row(widths: Widths, grids: tuple[list[int], ...]) -> Floats:
    """How often a model pays the base, an inner layer, and each step between the widths of the four grids."""
    inner_attention, inner_ffn, last_attention, last_ffn = grids
    layers = len(widths.heads)
    inner = [
        sum((_climbed(grid, width) for width in used[:-1]), np.zeros(len(grid) - 1))
        for grid, used in ((inner_attention, widths.heads), (inner_ffn, widths.neurons))
    ]
    last = [_climbed(last_attention, widths.heads[-1]), _climbed(last_ffn, widths.neurons[-1])]
    return np.concatenate([[1.0, layers - 1.0], *inner, *last])


def _climbed(grid: list[int], width: int) -> Floats:
    """The share of each step of ``grid`` that lies below ``width``."""
    steps = np.diff(grid)
    return np.clip((width - np.array(grid[:-1])) / np.maximum(steps, 1), 0.0, 1.0)


def _filled(grid: list[int], steps: Iterator[float]) -> Floats:
    """The milliseconds of every width from 0 to the last of ``grid``, by those of each step."""
    heights = np.concatenate([[0.0], np.cumsum([next(steps) for _ in grid[1:]])])
    filled: Floats = np.interp(np.arange(grid[-1] + 1), grid, heights)
    return filled


def time_against(model: Timer, reference: Timer) -> Timing:
    """Time both models in turns, in each round on the same inputs; returns medians over the rounds."""
    model.turn(_CALLS_AT_LEAST, first=0)
    call_ms = reference.turn(_CALLS_AT_LEAST, first=0)
    calls = calls_per_turn(_TURN_S, call_ms, _CALLS_AT_LEAST, _CALLS_AT_MOST)
    rounds_ms = []
    for number in range(_ROUNDS):
        turn_ms = {timer: timer.turn(calls, first=number * calls) for timer in in_turn((reference, model), number)}
        rounds_ms.append((turn_ms[model], turn_ms[reference]))
    times_ms = np.array(rounds_ms)
    return Timing(float(np.median(times_ms[:, 0] / times_ms[:, 1])), float(np.median(times_ms[:, 1])))


def settle(model: StartTimer, reference: StartTimer) -> Timing:
    """Time both models in two pairs of fresh processes; returns means.

    One pair of processes was up to a quarter off the next. Over a table of many models that evens out; for the one
    model that a decision rests on it does not.
    """
    timings = []
    for _ in range(_PROCESSES):
        with model() as model_timer, reference() as reference_timer:
            timings.append(time_against(model_timer, reference_timer))
    ratio, whole_ms = np.mean([(timing.ratio, timing.whole_ms) for timing in timings], axis=0).tolist()
    return Timing(ratio, whole_ms)


def stored_timing(model: ModelShape, whole: ModelShape, deployment: Deployment) -> Timing:
    """The timing of a model against the whole one by :func:`settle`, measured once and stored beside the table.

    A second timing would differ a little and might change the decision that rests on it: a killed command would then
    not go on, because it would train another model.
    """
    against = [whole.architecture.hidden_size, asdict(whole.widths)]
    place = _place(model.architecture, _widest(whole.widths), deployment, against=against)
    if (known := read_timings(place).get(model.widths)) is not None:
        return known
    timing = settle(lambda: deployment.timer(*model), lambda: deployment.timer(*whole))
    write_timings(place, read_timings(place) | {model.widths: timing})  # another process may have added to it meanwhile
    return timing


def read_timings(place: Path) -> dict[Widths, Timing]:
    """The timings of earlier runs; none where the file is missing or damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        entries = parse_json(place.read_bytes())["timings"]
        return {Widths(tuple(entry.pop("heads")), tuple(entry.pop("neurons"))): Timing(**entry) for entry in entries}
    return {}


def write_timings(place: Path, timings: dict[Widths, Timing]) -> None:
    """Store the timings in one file, which is never half-written."""
    entries = [asdict(widths) | asdict(timing) for widths, timing in timings.items()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=place.parent, ignore_cleanup_errors=True) as own:
            partial = Path(own) / place.name  # processes may write at once: the last one's timings are right too
            partial.write_text(json.dumps({"timings": entries}), encoding="utf-8")
            sync(partial)
            put_in_place(partial, place)
    except OSError as error:
        raise CompressError(
            f"latency table {place}: cannot be written ({error.strerror}); set $COMPRESS_CACHE to another folder"
        ) from None


def _widest(whole: Widths) -> tuple[int, int, int]:
    return len(whole.heads), max(whole.heads), max(whole.neurons)


def _place(architecture: Architecture, widest: tuple[int, int, int], deployment: Deployment, **also: Any) -> Path:
    # The number of labels matters to the last and smallest MatMul alone, so models with other labels share a table.
    shape = asdict(replace(architecture, labels=0)) | {"widest": widest}
    key: dict[str, Any] = {"protocol": _PROTOCOL} | shape | deployment.as_key() | also
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_root(None) / "latency" / f"{digest[:16]}.json"
