"""The report as Markdown, fit to paste into a README."""

from collections.abc import Mapping
from typing import Any

from compress.benchmark.report import formatting
from compress.benchmark.report.recommend import Entry, p50_ms, texts_of


def as_markdown(results: Mapping[str, Any]) -> str:
    """Headline, one table, and the machine."""
    entries = results["models"]
    judged = entries[0]["accuracy"] is not None
    heads = ["Model", "Same answer", "p50 ms", "p95 ms", "Texts/s", "Size", "Speed-up"]
    if judged:
        metric = formatting.capital(formatting.metric_name(entries[0]["accuracy"]["metric"]))
        heads[1:1] = [f"{metric} (95%)", "Points (95%)"]
    lines = [
        f"**{results['recommendation']['headline']}**",
        "",
        results["recommendation"]["why"],
        "",
        *(["Partial: interrupted before everything was measured.", ""] if results.get("partial") else []),
        *(line for warning in results.get("warnings", ()) for line in (f"Careful: {warning}", "")),
        f"| {' | '.join(heads)} |",
        f"|---|{'---:|' * (len(heads) - 1)}",
        *(_row(entry) for entry in entries),
        "",
        *(line for note in _notes(results) for line in (note, "")),
        _conditions(results),
    ]
    return "\n".join(lines) + "\n"


def _notes(results: Mapping[str, Any]) -> list[str]:
    """What is missing from the table, and how to divide the CPUs."""
    return [
        *(f"Not measured: {failure['name']}: {failure['reason']}" for failure in results["failed"]),
        *(f"Left out: {model['name']}: {model['reason']}" for model in results.get("left_out", ())),
        *(f"Skipped: {skip['name']}, {skip['load']}: {skip['reason']}" for skip in results.get("skipped", ())),
        *(split_words(entry) for entry in results["models"] if entry.get("instances")),
    ]


def split_words(entry: Entry) -> str:
    """The best split in a sentence, and what it gains over the worst."""
    ranked = sorted(entry["instances"], key=lambda split: -float(split["texts_per_s"]))
    best, worst = ranked[0], ranked[-1]
    sentence = f"{entry['name']} answers most as {split_name(best)}: {formatting.rate(best['texts_per_s'])} texts/s"
    if best is worst:
        return f"{sentence}."
    gain = formatting.compared(best["texts_per_s"] / worst["texts_per_s"], "as many", "as few", "about as many")
    return f"{sentence}, {gain} as {split_name(worst)}."


def split_name(split: Mapping[str, Any]) -> str:
    """``2 instances of 1 thread``."""
    instances, threads = split["instances"], split["threads"]
    return f"{instances} instance{'s' * (instances != 1)} of {threads} thread{'s' * (threads != 1)}"


def _row(entry: Entry) -> str:
    accuracy, change, real = entry["accuracy"], entry["versus_first"], entry["latency"][0]
    judged = accuracy and (
        f"{formatting.percent(accuracy['value'])} ({formatting.percents(accuracy['ci95'])})",
        f"{formatting.points(change['accuracy_delta'])} ({formatting.points_range(change['ci95'])})",
    )
    cells = (
        entry["name"].replace("|", "\\|"),
        *(judged or ()),
        formatting.percent(change["agreement"]),
        formatting.bare_ms(p50_ms(entry)),
        formatting.bare_ms(real["p95_ms"]),
        formatting.rate(real["texts_per_s"]),
        formatting.megabytes(entry["size_bytes"]),
        formatting.times(change["speedup_p50"]),
    )
    return f"| {' | '.join(cells)} |"


def _conditions(results: Mapping[str, Any]) -> str:
    machine, first = results["machine"], results["models"][0]
    device = machine["gpu"] if first["device"] == "cuda" else machine["cpu"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"Batch 1 on {texts_of(results)} test texts as they come, {first['latency'][0]['threads']} threads, model"
        f" time only (token ids in, logits out). {device}"
        f" ({', '.join(machine['cpu_flags'])}); {versions}."
    )
