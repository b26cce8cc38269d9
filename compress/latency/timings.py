"""The times that a latency table is fitted to: measured one model at a time, and stored for the next run.

Each model takes turns with the whole one, and only the ratio of the two is kept: a machine whose clock drifts, or that
somebody else uses too, slows both. An interrupted run continues after the last model that it timed.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import CompressError
from compress.latency.deployment import Deployment
from compress.latency.table import LatencyTable, fit_table, models_to_time
from compress.latency.timer import Timer
from compress.machine import cache_root
from compress.modeling.widths import Architecture, Widths
from compress.progress import progress
from compress.workers.timing import calls_per_turn, in_turn

_ROUNDS = 10  # even: each of the two goes first as often as second
_TURN_S = 0.1
_CALLS_AT_LEAST, _CALLS_AT_MOST = 8, 64
_PROCESSES = 2

StartTimer = Callable[[], AbstractContextManager[Timer]]


@dataclass(frozen=True)
class Timing:
    """One model against the whole one: the ratio of their times, and the whole one's own."""

    ratio: float
    whole_ms: float


def latency_table(architecture: Architecture, whole: Widths, deployment: Deployment) -> LatencyTable:
    """The table for models made of parts of ``whole``; it is measured once and stored in the user's cache."""
    widest = (len(whole.heads), max(whole.heads), max(whole.neurons))
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
                    timings[widths] = take_turns(model, reference)
                write_timings(place, timings)
                advance()
    whole_ms = float(np.median([timing.whole_ms for timing in timings.values()]))
    return fit_table({widths: timings[widths].ratio * whole_ms for widths in models})


def take_turns(model: Timer, reference: Timer) -> Timing:
    """Time both in turns; medians over the rounds."""
    model.turn(_CALLS_AT_LEAST)
    call_ms = reference.turn(_CALLS_AT_LEAST)
    calls = calls_per_turn(_TURN_S, call_ms, _CALLS_AT_LEAST, _CALLS_AT_MOST)
    rounds_ms = []
    for number in range(_ROUNDS):
        found_ms = {timer: timer.turn(calls) for timer in in_turn((reference, model), number)}
        rounds_ms.append((found_ms[model], found_ms[reference]))
    times_ms = np.array(rounds_ms)
    return Timing(float(np.median(times_ms[:, 0] / times_ms[:, 1])), float(np.median(times_ms[:, 1])))


def settle(model: StartTimer, reference: StartTimer) -> Timing:
    """Time both in fresh processes, and again in others; means.

    One pair of processes was up to a quarter off the next. Over a table of many models that evens out; for the one
    model that a decision rests on it does not.
    """
    found = []
    for _ in range(_PROCESSES):
        with model() as one, reference() as other:
            found.append(take_turns(one, other))
    ratio, whole_ms = np.mean([(timing.ratio, timing.whole_ms) for timing in found], axis=0).tolist()
    return Timing(ratio, whole_ms)


def read_timings(place: Path) -> dict[Widths, Timing]:
    """The timings of earlier runs; none where the file is missing or damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        entries = json.loads(place.read_text(encoding="utf-8"))["timings"]
        return {Widths(tuple(entry.pop("heads")), tuple(entry.pop("neurons"))): Timing(**entry) for entry in entries}
    return {}


def write_timings(place: Path, timings: dict[Widths, Timing]) -> None:
    """Store all of them in one file that is never half-written."""
    entries = [asdict(widths) | asdict(timing) for widths, timing in timings.items()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(".partial")
        partial.write_text(json.dumps({"timings": entries}), encoding="utf-8")
        partial.replace(place)
    except OSError as error:
        raise CompressError(
            f"latency table {place}: cannot be written ({error.strerror}); set $COMPRESS_CACHE to a folder that can be"
        ) from None


def _place(architecture: Architecture, widest: tuple[int, int, int], deployment: Deployment) -> Path:
    # The number of labels matters to the last, smallest product alone.
    key: dict[str, Any] = asdict(replace(architecture, labels=0)) | {"widest": widest} | deployment.as_key()
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_root(None) / "latency" / f"{digest[:16]}.json"
