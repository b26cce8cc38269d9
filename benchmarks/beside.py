"""Tables of ``compress`` beside other tools, in Markdown, from the kept results."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.kept import markdown

Results = Mapping[str, Any]


def graphs(results: Results) -> str:
    """Median times of the int8 graph and of others' from the same weights, by shape; the fastest is in bold."""
    contenders = list(results["rows"][0]["ratio"])[:3]
    rows = []
    for row in results["rows"]:
        times = [row["p50_ms"][name] for name in contenders]
        shown = [f"**{ms:.2f}**" if ms == min(times) else f"{ms:.2f}" for ms in times]
        rows.append([row["model"], row["load"], row["threads"], *shown])
    return markdown([["model", "texts x tokens", "threads", *(f"{name}, ms" for name in contenders)], *rows])


def families(results: Results) -> str:
    """How many times as fast as the stock export each family is, on 1 and on 2 threads, and what misses its goal."""
    loads = {row["load"]: row["goal"] for row in results["rows"]}
    rows = []
    for name in dict.fromkeys(row["model"] for row in results["rows"]):
        own = [row for row in results["rows"] if row["model"] == name]
        by_load = ([row for row in own if row["load"] == load] for load in loads)
        rows.append([name, *(", ".join(map(_against_goal, found)) for found in by_load)])
    return markdown([["family", *(f"{load} (goal {goal:g})" for load, goal in loads.items())], *rows])


def _against_goal(row: Mapping[str, Any]) -> str:
    ratio = row["ratio"]["stock quantize_dynamic"]
    return f"{ratio:.2f}" if row["met"] else f"{ratio:.2f} (missed)"


def bulk(results: Results) -> str:
    """Texts a second from one int8 folder, and how many labels differ from those of one text at a time."""
    told = {name: found for name, found in results["contenders"].items() if "other_labels" in found}
    rows = [[name, f"{found['texts_per_s']:,}", found["other_labels"]] for name, found in told.items()]
    run = f"{results['texts']:,} texts, {results['threads']} threads, {_rounds(next(iter(told.values()))['seconds'])}"
    return markdown([[run, "texts/s", "other labels"], *rows])


def distillation(results: Results) -> str:
    """Training and whole runs as multiples of TextBrewer's speed, and what the students reach."""
    rows = [
        [
            row["contender"],
            f"{fmean(row['training_ratios']):.1f}x",
            f"{fmean(row['run_ratios']):.1f}x",
            f"{row['accuracy']:.1%}",
        ]
        for row in results["rows"]
    ]
    return markdown([[_rounds(results["rounds"]), "training", "whole run", "accuracy"], *rows])


def _rounds(found: Sequence[object]) -> str:
    return "one round" if len(found) == 1 else f"{len(found)} rounds"
