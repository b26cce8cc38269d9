"""Sentences about one model: its best split of the CPUs, when it abstains, how much a cascade hands on."""

from collections.abc import Mapping
from typing import Any

from compress.formatting import compared, milliseconds, percent, percents, rate


def split_words(entry: Mapping[str, Any]) -> str:
    """A sentence on the best split of the CPUs, and how much it gains over the worst."""
    ranked = sorted(entry["instances"], key=lambda split: -float(split["texts_per_s"]))
    best, worst = ranked[0], ranked[-1]
    sentence = f"{entry['name']} answers most as {split_name(best)}: {rate(best['texts_per_s'])} texts/s"
    if best is worst:
        return f"{sentence}."
    gain = compared(best["texts_per_s"] / worst["texts_per_s"], "as many", "as few", "about as many")
    return f"{sentence}, {gain} as {split_name(worst)}."


def split_name(split: Mapping[str, Any]) -> str:
    """``2 instances of 1 thread``."""
    instances, threads = split["instances"], split["threads"]
    return f"{instances} instance{'s' * (instances != 1)} of {threads} thread{'s' * (threads != 1)}"


def selection_words(entry: Mapping[str, Any], split: str) -> str:
    """A sentence on a model that abstains: the share of a split's texts that it answers, and how much is wrong."""
    selection = entry["accuracy"]["selection"]
    answers = f"{entry['name']} abstains where the highest score is below {selection['abstain_below']:.4g}: it answers"
    answers += f" {percent(selection['coverage'])} of the {split} texts ({percents(selection['coverage_ci95'])})"
    if selection["risk"] is None:
        return f"{answers}."
    return f"{answers}, {percent(selection['risk'])} of them wrongly ({percents(selection['risk_ci95'])})."


def cascade_words(entry: Mapping[str, Any], split: str) -> str:
    """Sentences on a cascade: the share of texts that it hands on, its times, and what they include."""
    handed_on = f"{percent(entry['cascade']['handed_on'])} of the {split} texts"
    shown = f"{entry['name']} is a cascade: it hands {handed_on} on to its large model."
    if entry["answer_mean_ms"] is None:
        shown += f" An answer takes {milliseconds(entry['latency'][0]['mean_ms'])} on average."
    else:
        times = (milliseconds(entry[f"answer_{name}_ms"]) for name in ("mean", "p50", "p95"))
        shown += " From text to label: {} on average, p50 {}, p95 {}; all models are compared by the mean.".format(
            *times
        )
    return f"{shown} Its p50, p95, texts/s and throughput include its tokenizers; those of other models leave them out."
