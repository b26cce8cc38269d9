"""How a machine's CPUs are best shared out, from the entries of results.json."""

from collections.abc import Mapping
from typing import Any

from compress.benchmark.report import formatting
from compress.benchmark.report.bars import Bar
from compress.benchmark.report.recommend import Entry


def split_words(entry: Entry) -> str:
    """The best split in a sentence, and what it gains over the worst."""
    ranked = sorted(entry["instances"], key=lambda split: -float(split["texts_per_s"]))
    best, worst = ranked[0], ranked[-1]
    told = f"{entry['name']} answers most as {split_name(best)}: {formatting.rate(best['texts_per_s'])} texts/s"
    if best is worst:
        return f"{told}."
    gain = formatting.compared(best["texts_per_s"] / worst["texts_per_s"], "as many", "as few", "about as many")
    return f"{told}, {gain} as {split_name(worst)}."


def split_name(split: Mapping[str, Any]) -> str:
    """``2 instances of 1 thread``."""
    instances, threads = split["instances"], split["threads"]
    return f"{instances} instance{'s' * (instances != 1)} of {threads} thread{'s' * (threads != 1)}"


def split_bars(entry: Entry) -> list[Bar]:
    """Texts a second of each split, the best one marked."""
    best = max(split["texts_per_s"] for split in entry["instances"])
    return [
        Bar(
            split_name(split),
            split["texts_per_s"],
            f"{formatting.rate(split['texts_per_s'])} texts/s, p95 {formatting.milliseconds(split['p95_ms'])}",
            split["texts_per_s"] == best,
        )
        for split in entry["instances"]
    ]
