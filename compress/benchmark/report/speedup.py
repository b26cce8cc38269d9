"""Speed-ups as the report writes them: the number where its interval is narrow, else the interval alone.

The speed-up that counts is that from a text to its answer; older documents have the model's alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compress.formatting import compared, times

_MARGIN = 0.15

Entry = Mapping[str, Any]


def answer_ms(entry: Entry) -> float:
    """The average time from a text to its label, in ms; where that was not measured, :func:`p50_ms`."""
    return float(entry.get(f"answer_{average_of(entry)}_ms") or p50_ms(entry))


def answer_interval_ms(entry: Entry) -> tuple[float, float]:
    """The 95% interval of :func:`answer_ms`, in ms."""
    low, high = entry.get(f"answer_{average_of(entry)}_ci95") or entry["latency"][0]["p50_ci95"]
    return low, high


def average_of(entry: Entry) -> str:
    """The average that all models of the document are compared by: ``mean`` if one is a cascade, else ``p50``."""
    return str(entry.get("answer_average") or "p50")


def average_word(entry: Entry) -> str:
    """The average that models are compared by, in words: ``mean`` or ``median``."""
    return "mean" if average_of(entry) == "mean" else "median"


def comparable(entry: Entry, first: Entry) -> bool:
    """Whether two models' own times can be compared: only a cascade's include its tokenizers."""
    return entry is first or not (entry.get("cascade") or first.get("cascade"))


def p50_ms(entry: Entry) -> float:
    """The model's median time in ms for one real text, on the first thread count."""
    return float(entry["latency"][0]["p50_ms"])


def has_answers(entries: Sequence[Entry]) -> bool:
    """Whether all models were timed from a text to its label, and can be compared by that."""
    return all(entry.get("answer_p50_ms") for entry in entries)


def of_answers(change: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's ``versus_first`` with the speed-up from text to label in place of the model's own, if there is one."""
    if "speedup_answer" not in change:
        return change
    return {**change, "speedup_p50": change["speedup_answer"], "speedup_ci95": change["speedup_answer_ci95"]}


def can_be_stated(change: Mapping[str, Any]) -> bool:
    """Whether a speed-up's 95% interval lies within 15% of it; ``change`` is a model's ``versus_first``.

    Documents from before 0.2 have no interval, and their speed-ups are stated as they are.
    """
    interval, ratio = change.get("speedup_ci95"), change["speedup_p50"]
    return interval is None or ratio * (1 - _MARGIN) <= interval[0] <= interval[1] <= ratio * (1 + _MARGIN)


def speedup(change: Mapping[str, Any]) -> str:
    """``8.1x``, or ``75.6x to 1674x`` where the number cannot be stated."""
    if can_be_stated(change):
        return times(change["speedup_p50"])
    return " to ".join(times(bound) for bound in change["speedup_ci95"])


def speedup_words(change: Mapping[str, Any]) -> str:
    """``8.1x faster``, or the interval and what to do about it."""
    if can_be_stated(change):
        return compared(change["speedup_p50"], "faster", "slower", "as fast")
    return f"{speedup(change)} the speed (too uncertain: measure again)"
