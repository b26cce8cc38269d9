"""The README's table and the goals, both made from the results."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu.arithmetic import least_ms
from benchmarks.gpu.setting import STUDENT, TEACHER
from benchmarks.kept import markdown

Row = dict[str, Any]
_BASE = "eager fp32"
_HEADS = (
    "model",
    "way",
    "alone, ms",
    "in large batches, texts/s",
    "times the teacher's fp32",
    "at least, ms",
    "took, ms",
)


def table(document: Mapping[str, Any]) -> str:
    """Every model and way on texts as long as SST-2's, one at a time and in the largest batch; the goals below."""
    found = figures(document)
    one, many = sst2_loads_of(found)
    base = found.get((TEACHER, _BASE, many))
    card = card_of(document)
    lines: list[Sequence[str]] = [_HEADS]
    for model, way in dict.fromkeys((model, way) for model, way, _ in found):
        alone, batch = found.get((model, way, one)), found.get((model, way, many))
        if not batch:
            continue
        times = f"{batch['whole_texts_per_s'] / base['whole_texts_per_s']:.2f}x" if base else ""
        least = least_ms(batch, rates_of(document)["known"]) if "flops" in batch else None
        cells = [f"{alone['whole_ms']:.2f}" if alone else "", f"{batch['whole_texts_per_s']:,.0f}", times]
        cells += [f"{least:.2f}" if least else "not known", f"{batch['ms']:.2f}" if "ms" in batch else ""]
        lines.append([model, way, *cells])
    where = card or "a CPU, in miniature (these figures mean nothing)"
    title = f"On {where}, {many}, from token ids to logits; the last two columns on the card alone:"
    reached = [f"- {goal['goal']}: {_said(goal)}" for goal in goals(document)]
    return "\n".join([title, "", markdown(lines, words=2), *reached]) + "\n"


def goals(document: Mapping[str, Any]) -> list[Row]:
    """What the project wants of a GPU, against what was found; None where a part of it is not measured."""
    found = figures(document)
    one, many = sst2_loads_of(found)
    return [
        _ratio(document, "student against the teacher's fp32, large batches", 15.0, many, (TEACHER, _BASE)),
        _ratio(document, "student against the teacher's fp32, one text at a time", 5.0, one, (TEACHER, _BASE)),
        _unpadded(document, "student unpadded against padded in the same precision, large batches", 2.0, many),
    ]


def figures(document: Mapping[str, Any]) -> dict[tuple[str, str, str], Row]:
    """The timed rows of the parts that serve, by model, way and load; of a way timed twice the first.

    ``run`` is when the run began that the row is from, None where that is the document's own.
    """
    found: dict[tuple[str, str, str], Row] = {}
    for name, part in document["parts"].items():
        if name.split()[0] in ("serve", "unpadded", "onnxruntime"):
            for row in part["rows"]:
                if "whole_ms" in row:
                    found.setdefault((row["model"], row["way"], row["load"]), row | {"run": part.get("created")})
    return found


def sst2_loads_of(found: Mapping[tuple[str, str, str], Row]) -> tuple[str, str]:
    """The names of the smallest and the largest load of SST-2's lengths."""
    loads = {load: row["batch"] for (_, _, load), row in found.items() if load.startswith("sst2")}
    by_batch = sorted(loads, key=lambda load: loads[load]) or [""]
    return by_batch[0], by_batch[-1]


def rates_of(document: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """The card's rates: ``known`` by its data sheet, and ``measured``."""
    rows = document["parts"].get("rates", {}).get("rows", [])
    measured = {row["measured"]: row.get("tflops", row.get("tb_per_s")) for row in rows if "measured" in row}
    return {"known": next((row["known"] for row in rows if "known" in row), {}), "measured": measured}


def card_of(document: Mapping[str, Any]) -> str | None:
    """The GPU's name; None in the miniature."""
    rows = document["parts"].get("rates", {}).get("rows", [])
    return next((row["card"]["name"] for row in rows if "card" in row), None)


def _ratio(document: Mapping[str, Any], goal: str, wanted: float, load: str, base: tuple[str, str]) -> Row:
    found = figures(document)
    reference = found.get((*base, load))
    student = [row for (model, _, its), row in found.items() if model == STUDENT and its == load]
    if not reference or not student:
        return {"goal": goal, "wanted": wanted, "found": None}
    best = min(student, key=lambda row: row["whole_ms"])
    ratio, two_runs = reference["whole_ms"] / best["whole_ms"], reference["run"] != best["run"]
    return {"goal": goal, "wanted": wanted, "found": ratio, "two_runs": two_runs} | _why(document, best)


def _unpadded(document: Mapping[str, Any], goal: str, wanted: float, load: str) -> Row:
    """The student's best pair, both timed in one process."""
    rows = document["parts"].get(f"unpadded {STUDENT}", {}).get("rows", [])
    timed = {row["way"]: row for row in rows if row.get("load") == load and "whole_ms" in row}
    pairs = [
        (timed[padded]["whole_ms"] / row["whole_ms"], row)
        for way, row in timed.items()
        if way.startswith("unpadded") and (padded := f"eager {row['precision']}") in timed
    ]
    if not pairs:
        return {"goal": goal, "wanted": wanted, "found": None}
    ratio, best = max(pairs, key=lambda pair: pair[0])
    return {"goal": goal, "wanted": wanted, "found": ratio} | _why(document, best)


def _why(document: Mapping[str, Any], row: Row) -> Row:
    """What bounds the winner: its time, of which so much on the card, and the least that its work takes there."""
    rates = rates_of(document)
    told = {"way": row["way"], "load": row["load"], "whole_ms": row["whole_ms"], "ms": row.get("ms")}
    if "flops" not in row:
        return told
    bounds = {f"least_ms_{name}": least_ms(row, each) for name, each in rates.items()}
    return told | {"flops": row["flops"], "bytes": row["bytes"]} | bounds


def _said(goal: Row) -> str:
    if goal["found"] is None:
        return f"{goal['wanted']:g}x wanted, not measured"
    least = goal.get("least_ms_known") or goal.get("least_ms_measured")
    bound = f", of which the card needs at least {least:.2g} ms" if least else ""
    runs = " of two runs" if goal.get("two_runs") else ""
    ratio = f"{goal['found']:.2f}x{runs} (goal {goal['wanted']:g}x)"
    return f"{ratio}, with {goal['way']}; {goal['whole_ms']:.2f} ms{bound}"
