"""From the kept turns to the figures of each peer."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.peers.environments import ENVIRONMENTS
from benchmarks.peers.registry import TEACHER, Peer
from benchmarks.peers.rounds import Contender, Turns
from compress.evaluation.comparison import paired_interval
from compress.evaluation.metrics import wilson_interval


def figures(contenders: Sequence[Contender], turns: Turns, truth: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each contender; points are against the teacher."""
    failed = {one.peer.name: one.failed or _failed(turns[one.peer.name]) for one in contenders}
    if why := failed[TEACHER.name]:
        raise SystemExit(f"{TEACHER.name}, which all are compared with, does not run: {why}")
    right = {name: np.array(found[0]["labels"]) == np.array(truth) for name, found in turns.items() if not failed[name]}
    rows = []
    for one in contenders:
        row: dict[str, Any] = {"name": one.peer.name, "made_as": one.peer.made_as, "packages": _packages(one.peer)}
        if why := failed[one.peer.name]:
            rows.append(row | {"failed": why})
            continue
        found = turns[one.peer.name]
        row |= _accuracy(right[one.peer.name], right[TEACHER.name]) | _speed(found)
        row |= {
            "other_labels_in_later_rounds": max(_differing(found[0], turn) for turn in found),
            "cold_start_s": median(turn["cold_start_s"] for turn in found),
            "peak_bytes": median(turn["peak_bytes"] for turn in found),
            "size_bytes": sum(path.stat().st_size for path in one.folder.rglob("*") if path.is_file()),
            "made_in_s": one.made_in_s,
        }
        rows.append(row)
    return rows


def _failed(found: Sequence[Mapping[str, Any]]) -> str | None:
    return next((turn["failed"] for turn in found if "failed" in turn), None)


def _packages(peer: Peer) -> list[str]:
    return [one for call in ENVIRONMENTS[peer.environment] for one in call] if peer.environment else []


def _accuracy(right: Any, teacher_right: Any) -> dict[str, Any]:
    share = float(right.mean())
    return {
        "accuracy": share,
        "accuracy_ci95": wilson_interval(share, len(right)),
        "points": 100 * (share - float(teacher_right.mean())),
        "points_ci95": [100 * bound for bound in paired_interval(teacher_right, right)],
    }


def _speed(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds: times of other processes that shared the machine in one of them do not count."""
    p50s = [float(np.percentile(turn["ms"], 50)) for turn in found]
    ratios = [p50 / turn["reference_ms"] for p50, turn in zip(p50s, found, strict=True)]
    return {
        "p50_ms": median(p50s),
        "p50_ms_of_rounds": p50s,
        "p95_ms": median(float(np.percentile(turn["ms"], 95)) for turn in found),
        "times_ours": median(ratios),
        "times_ours_of_rounds": ratios,
    }


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    return sum(a != b for a, b in zip(one["labels"], other["labels"], strict=True))
