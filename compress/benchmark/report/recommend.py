"""Which model to take, and why, from the entries of results.json.

The rule: of the models that lose at most one point against the first, take the fastest from a text to its answer, one
text at a time. A larger loss does not pass even if it could be chance: on few test texts almost any loss could be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compress.benchmark.report.speedup import Entry, answer_ms, can_be_stated, of_answers, speedup_words
from compress.formatting import compared, megabytes, metric_name, milliseconds, percent, points, points_range

_WORST_CHANGE = -0.01 - 1e-9  # with room for rounding: 0.97 - 0.98 is a little less than -0.01


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The model to take: its name, a headline of a few figures, and the reason in a sentence or two."""

    name: str
    headline: str
    why: str


def recommend(
    entries: Sequence[Entry], balance: Mapping[str, Any] | None = None, split: str = "test"
) -> Recommendation:
    """Apply the rule, on the texts of ``split``; the reason names the loss beside the gain.

    ``balance`` describes the test labels; where nearly all texts have one answer, the headline says what it scores.
    """
    chosen = _chosen(entries, split)
    if balance is None or not balance["lopsided"]:
        return chosen
    return replace(chosen, headline=f"{chosen.headline} (always the same answer: {percent(balance['always'])})")


def _chosen(entries: Sequence[Entry], split: str) -> Recommendation:
    first = entries[0]
    if first["accuracy"] is None:
        return _fastest(entries, split)
    close_enough = (entry for entry in entries if entry["versus_first"]["accuracy_delta"] >= _WORST_CHANGE)
    chosen = min(close_enough, key=answer_ms)
    if len(entries) == 1:
        accuracy = f"{percent(first['accuracy']['value'])} {metric_name(first['accuracy']['metric'])}"
        figures = f"{accuracy}, {milliseconds(answer_ms(first))} a text, {megabytes(first['size_bytes'])}"
        return Recommendation(first["name"], f"{first['name']}: {figures}", "Only this model was measured.")
    if chosen is first:
        return _keep_first(entries)
    return Recommendation(chosen["name"], f"{chosen['name']}: {gains(chosen)}", _why(chosen, entries))


def texts_of(results: Mapping[str, Any]) -> int:
    """How many test texts there were; documents from before 0.2 have the number only beside the accuracy."""
    return int(results["test_texts"] if "test_texts" in results else results["models"][0]["accuracy"]["n"])


def split_of(results: Mapping[str, Any]) -> str:
    """The split whose texts were measured, ``test`` or ``validation``; documents from before 0.2 measured ``test``."""
    return str(results.get("settings", {}).get("split", "test"))


def gains(entry: Entry) -> str:
    """Speed, size and points against the first model, in a few words."""
    change = entry["versus_first"]
    size = compared(change["size_ratio"], "smaller", "larger", "as large")
    loss = "" if change["accuracy_delta"] is None else f", {points(change['accuracy_delta'])} points"
    return f"{speedup_words(of_answers(change))}, {size}{loss}"


def _fastest(entries: Sequence[Entry], split: str) -> Recommendation:
    """The recommendation without labels: the fastest model, and how often it answers as the first."""
    first, fastest = entries[0], min(entries, key=answer_ms)
    why = f"The {split} texts have no labels, so accuracy is not known: choose by speed only what is known to be right."
    if fastest is first:
        return Recommendation(first["name"], f"{first['name']}: {milliseconds(answer_ms(first))} a text", why)
    agreement = percent(fastest["versus_first"]["agreement"])
    why += f" {fastest['name']} is the fastest and answers as {first['name']} on {agreement} of the texts."
    return Recommendation(fastest["name"], f"{fastest['name']}: {gains(fastest)}", why)


def _keep_first(entries: Sequence[Entry]) -> Recommendation:
    first, fastest = entries[0], min(entries, key=answer_ms)
    why = f"The fastest, {fastest['name']}, is {gains(fastest)}."
    if fastest is first:
        why = f"It is the fastest, at {milliseconds(answer_ms(first))} a text."
    return Recommendation(first["name"], f"{first['name']}: keep it, nothing faster is as accurate", why)


def _gain(chosen: Entry, first: Entry) -> str:
    sizes = f"{megabytes(chosen['size_bytes'])} against {megabytes(first['size_bytes'])}"
    if not can_be_stated(of_answers(chosen["versus_first"])):
        return (
            f"How much faster {chosen['name']} is cannot be said from these times: measure again on a quiet machine"
            f" or with more --seconds. It has {sizes}, and was the fastest model within one point of {first['name']}."
        )
    return (
        f"Take {chosen['name']}: it is the fastest model within one point of {first['name']},"
        f" with {milliseconds(answer_ms(chosen))} a text against {milliseconds(answer_ms(first))} and {sizes}."
    )


def _why(chosen: Entry, entries: Sequence[Entry]) -> str:
    first, change = entries[0], chosen["versus_first"]
    metric = metric_name(chosen["accuracy"]["metric"])
    lead = "The price" if change["accuracy_delta"] < 0 else "What changes"
    sentences = [
        _gain(chosen, first),
        f"{lead}: {points(change['accuracy_delta'])} points of {metric} (95% interval"
        f" {points_range(change['ci95'])}), and another answer than {first['name']} on"
        f" {percent(1 - change['agreement'])} of the texts.",
    ]
    if change["ci95"][0] < _WORST_CHANGE:
        sentences.append(
            f"{chosen['accuracy']['n']} texts cannot rule out a loss of"
            f" {points(-change['ci95'][0]).lstrip('+')} points; test on more to be sure."
        )
    fastest = min(entries, key=answer_ms)
    if fastest is not chosen:
        loss = points(fastest["versus_first"]["accuracy_delta"])
        sentences.append(f"The faster {fastest['name']} ({milliseconds(answer_ms(fastest))}) is at {loss} points.")
    return " ".join(sentences)
