"""What is kept of a run of together.py, and its tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.distillation import METRICS
from benchmarks.kept import NOT_YET
from compress.formatting import metric_name
from compress.tuning.candidates import label_of

TEACHER_GOALS = {"sst2": 90.5, "banking77": 93.0, "mrpc": 86.5, "goemotions": 48.0}
COMPARED = ("banking77", "mrpc")  # the sets that are small enough for six students


def kept(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows that say something, without what only a search that goes on needs, and without names of folders."""
    for row in rows:
        if "test" in row:
            yield dict(row)
        elif "tries" in row:
            facts = {key: value for key, value in row["facts"].items() if key != "cuts"}
            said = row["said"].partition(". /")[0]  # the rest names the folder
            yield {**row, "facts": facts, "said": said}


def table(rows: Sequence[Mapping[str, Any]] | None) -> str:
    """Teachers against the goals, two layers distilled against labels alone, and what the searches found."""
    if rows is None:
        return NOT_YET
    said = (
        f"- {row['task'].partition('/')[0]}: {row['said'].removeprefix('auto: ')}." for row in rows if row.get("said")
    )
    return "\n".join([*_teachers(rows), "", *_students(rows), "", *_searches(rows), "", *said]).rstrip() + "\n"


def _teachers(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| data | metric | teachers, mean ± sd | seeds | goal | short of it by |"
    yield "|---|---|--:|--:|--:|--:|"
    for name, goal in TEACHER_GOALS.items():
        found = _on_test(rows, f"{name}/teacher-")
        if found:
            short = f"{goal - np.mean(found):.1f}" if np.mean(found) < goal else "reached"
            yield f"| {name} | {metric_name(METRICS[name])} | {_spread(found)} | {len(found)} | {goal:.1f} | {short} |"


def _students(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| data | metric | two layers, distilled | two layers, labels alone | ahead by (goal: 1.0) |"
    yield "|---|---|--:|--:|--:|"
    for name in COMPARED:
        distilled, labels = (_on_test(rows, f"{name}/two-layers-{kind}-") for kind in ("distilled", "labels"))
        if distilled and labels:
            ahead = f"{np.mean(distilled) - np.mean(labels):+.1f}"
            yield f"| {name} | {metric_name(METRICS[name])} | {_spread(distilled)} | {_spread(labels)} | {ahead} |"


def _searches(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What they tried, by the validation texts that they chose by; their latencies are of a busy machine."""
    yield "| search | tried | points lost on validation (95%) | ms, machine busy | the teacher's ms | MB |"
    yield "|---|---|--:|--:|--:|--:|"
    for row in rows:
        for each in row.get("tries", ()):
            low, high = each["loss_ci95"]
            lost = f"{each['loss']:.1f} ({low:.1f} to {high:.1f})"
            title = label_of(each["candidate"], each["epochs"])
            teacher_ms = row["facts"]["whole"]["teacher_ms"]
            cells = [row["task"].partition("/")[0], title, lost, f"{each['ms']:.2f}", f"{teacher_ms:.1f}"]
            yield f"| {' | '.join(cells)} | {each['megabytes']:.1f} |"


def _on_test(rows: Sequence[Mapping[str, Any]], beginning: str) -> list[float]:
    """The test metric in points of every seed."""
    return [100 * row["test"] for row in rows if row.get("task", "").startswith(beginning)]


def _spread(points: Sequence[float]) -> str:
    return f"{np.mean(points):.1f} ± {np.std(points, ddof=1):.1f}" if len(points) > 1 else f"{points[0]:.1f}"
