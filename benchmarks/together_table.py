"""What is kept of a run of together.py, and its tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.distillation import METRICS
from benchmarks.kept import markdown, spread
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


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Teachers against the goals, two layers distilled against labels alone, and what the searches found."""
    said = (
        f"- {row['task'].partition('/')[0]}: {row['said'].removeprefix('auto: ')}." for row in rows if row.get("said")
    )
    return "\n".join([_teachers(rows), _students(rows), _searches(rows), *said]).rstrip() + "\n"


def _teachers(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [["data", "metric", "teachers, mean ± sd", "seeds", "goal", "short of it by"]]
    for name, goal in TEACHER_GOALS.items():
        if found := _on_test(rows, f"{name}/teacher-"):
            short = f"{goal - fmean(found):.1f}" if fmean(found) < goal else "reached"
            lines.append([name, metric_name(METRICS[name]), spread(found), str(len(found)), f"{goal:.1f}", short])
    return markdown(lines, words=2)


def _students(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [["data", "metric", "two layers, distilled", "two layers, labels alone", "ahead by (goal: 1.0)"]]
    for name in COMPARED:
        distilled, labels = (_on_test(rows, f"{name}/two-layers-{kind}-") for kind in ("distilled", "labels"))
        if distilled and labels:
            ahead = f"{fmean(distilled) - fmean(labels):+.1f}"
            lines.append([name, metric_name(METRICS[name]), spread(distilled), spread(labels), ahead])
    return markdown(lines, words=2)


def _searches(rows: Sequence[Mapping[str, Any]]) -> str:
    """What they tried, by the validation texts that they chose by; their latencies are of a busy machine."""
    lines = [["search", "tried", "points lost on validation (95%)", "ms, machine busy", "the teacher's ms", "MB"]]
    for row in rows:
        for each in row.get("tries", ()):
            low, high = each["loss_ci95"]
            lost = f"{each['loss']:.1f} ({low:.1f} to {high:.1f})"
            times = f"{each['ms']:.2f}", f"{row['facts']['whole']['teacher_ms']:.1f}"
            title = label_of(each["candidate"], each["epochs"])
            lines.append([row["task"].partition("/")[0], title, lost, *times, f"{each['megabytes']:.1f}"])
    return markdown(lines, words=2)


def _on_test(rows: Sequence[Mapping[str, Any]], beginning: str) -> list[float]:
    """The test metric in points of every seed."""
    return [100 * row["test"] for row in rows if row.get("task", "").startswith(beginning)]
