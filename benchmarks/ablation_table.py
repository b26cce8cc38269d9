"""What is kept of a run of ablation.py, and its table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.kept import markdown, spread
from compress.formatting import metric_name

WHOLE = "nothing"  # is left out
OUR_GRAPH, STATIC = "our graph", "static activations"
_HEADS = (
    "data",
    "left out",
    "on test, mean ± sd",
    "seeds",
    "against nothing left out (or what is named), points",
    "text to answer",
    "size",
)

_NOTE = (
    "All seeds learn from the same three teachers, so that ± lacks the spread of teachers. Times are of the first "
    "seed's models; whether other programs ran beside them was not watched."
)

Rows = Sequence[Mapping[str, Any]]


def kept(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of finished models and of their times."""
    for row in rows:
        if "left_out" in row or "answer_ms" in row:
            yield dict(row)


def table(rows: Rows) -> str:
    """A line for each part that was left out; differences are between models of one seed."""
    lines: list[Sequence[str]] = [_HEADS]
    for name in dict.fromkeys(row["set"] for row in rows if "left_out" in row):
        own = [row for row in rows if row.get("set") == name]
        times: Mapping[str, float] = next((row["answer_ms"] for row in own if "answer_ms" in row), {})
        left = dict.fromkeys(row["left_out"] for row in own if "left_out" in row)
        lines += (_cells(name, left_out, own, times) for left_out in left)
    return f"{markdown(lines, words=2)}\n{_NOTE}\n"


def _cells(name: str, left_out: str, rows: Rows, times: Mapping[str, float]) -> list[str]:
    against = STATIC if left_out == OUR_GRAPH else WHOLE  # a stock graph lacks both
    found, whole = _by_seed(rows, left_out), _by_seed(rows, against)
    change = [100 * (found[seed]["test"] - whole[seed]["test"]) for seed in found if seed in whole]
    first = next(iter(found.values()))
    return [
        f"{name} ({metric_name(first['metric'])})",
        left_out,
        spread([100 * each["test"] for each in found.values()]),
        str(len(found)),
        ""
        if left_out == WHOLE or not change
        else spread(change, "+.1f") + ("" if against == WHOLE else f" ({against})"),
        f"{times[left_out]:.2f} ms" if left_out in times else "not measured",
        f"{fmean(each['bytes'] for each in found.values()) / 1e6:.1f} MB",
    ]


def _by_seed(rows: Rows, left_out: str) -> dict[int, Mapping[str, Any]]:
    return {row["seed"]: row for row in rows if row.get("left_out") == left_out}
