"""Reasons to doubt the figures: busy CPUs, a speed-up with a wide interval, unbalanced or missing test labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from compress import formatting
from compress.benchmark.contention import Contention
from compress.benchmark.report.speedup import can_be_stated, of_answers, speedup, speedup_words
from compress.formatting import some


def timing_warnings(entries: Sequence[Mapping[str, Any]], chosen: str, contention: Contention | None) -> list[str]:
    """Warnings for the top of the report; ``chosen`` is the recommended model, whose speed-up is the headline."""
    warnings = []
    if contention and contention.is_busy:
        cpus = "one CPU" if contention.cpus == 1 else f"{contention.cpus} CPUs"
        warnings.append(
            f"The machine was busy: other processes took {contention.other_cpus:.1f} of its {cpus}"
            " while the times were measured. Stop them and measure again before you rely on the times."
        )
    change = of_answers(next(entry["versus_first"] for entry in entries if entry["name"] == chosen))
    if not can_be_stated(change):
        warnings.append(
            f"The speed-up of {chosen} is too uncertain to be stated: its 95% interval is {speedup(change)}."
            " Measure again on a quiet machine or with more --seconds."
        )
    if chosen != entries[0]["name"] and (alone := change.get("one_thread")):
        warnings.append(f"With one thread each, which waits for no other, {chosen} is {speedup_words(alone)}.")
    return warnings


def label_warnings(balance: Mapping[str, Any] | None) -> list[str]:
    """Warnings of unbalanced or missing test labels; ``balance`` describes them, None: the texts have no labels."""
    warnings = []
    if balance is not None and balance["lopsided"]:
        answer = ", ".join(balance["most_frequent"]) or "no label"
        warnings.append(
            f"{formatting.percent(balance['share'])} of the texts are {answer}: a model that always gives this"
            f" answer would score {formatting.percent(balance['always'])}. Compare the accuracies with that."
        )
    if balance is not None and balance["absent"]:
        absent = some(balance["absent"])
        warnings.append(f"The figures say nothing of labels that no text has, which macro-F1 counts as 0: {absent}.")
    return warnings
