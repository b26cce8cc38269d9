"""The report: one page to look at, one table to paste, one document to compute with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.benchmark.report import formatting
from compress.benchmark.report.markdown import as_markdown, split_words
from compress.benchmark.report.recommend import Entry, p50_ms, texts_of
from compress.clock import in_words

_WIDE_PX, _HALF_PX, _NARROW_PX = 890, 420, 350
_AXIS_PX = 40
_MOST_LABELS, _MOST_FLIPS = 20, 20


def write_report(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.html``, ``report.md`` and ``results.json`` into ``folder``, which must exist.

    The raw times go into ``samples.jsonl``, one line a model and load: each call of each round in milliseconds.

    Args:
        results: the document that :func:`compress.benchmark.measure.bench` returns, or one read from a results.json.
        folder: where to write.
    """
    if "samples" in results:
        lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in results["samples"]]
        (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
        results = {name: value for name, value in results.items() if name != "samples"}
    document = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    (folder / "results.json").write_text(document, encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(results), encoding="utf-8")
    (folder / "report.html").write_text(as_html(results), encoding="utf-8")


def as_html(results: Mapping[str, Any]) -> str:
    """The page: self-contained, no scripts, nothing loaded from elsewhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("compress.benchmark.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    entries = results["models"]
    made = steps(entries)
    chosen = next(entry for entry in entries if entry["name"] == results["recommendation"]["name"])
    page = environment.get_template("report.html.j2").render(
        results={"warnings": [], "left_out": [], "skipped": [], **results},  # documents of before 0.2 have none
        formatting=formatting,
        first=entries[0],
        chosen=chosen,
        metric=formatting.metric_name(entries[0]["accuracy"]["metric"]) if entries[0]["accuracy"] else None,
        texts=texts_of(results),
        partial=results.get("partial"),
        charts=_charts(entries, chosen["name"]),
        throughputs=[entry for entry in entries if entry.get("throughput")],
        divided=[entry for entry in entries if entry.get("instances")],
        split_words=split_words,
        costs=[entry for entry in entries if entry.get("cost")],
        recalls=recall_rows(entries, chosen),
        flips=[entry for entry in entries if entry.get("flips", {}).get("count")],
        most_flips=_MOST_FLIPS,
        grid=grid_rows(entries),
        steps=made,
        trained=_trained(made),
        p50_ms=p50_ms,
        in_words=in_words,
    )
    return page + "\n"


def _charts(entries: Sequence[Entry], chosen: str) -> dict[str, dict[str, str]]:
    """Each chart drawn twice, so that its text is as large on a phone as on a desk."""
    from compress.benchmark.report import charts
    from compress.benchmark.report.scatter import scatter

    sizes, latencies = charts.size_bars(entries, chosen), charts.latency_bars(entries, chosen)
    widths = {"wide": _WIDE_PX, "narrow": _NARROW_PX}
    half = {"wide": _HALF_PX, "narrow": _NARROW_PX}
    judged = entries[0]["accuracy"] is not None
    plots = {kind: scatter(entries, chosen, width - _AXIS_PX, 320) for kind, width in widths.items()} if judged else {}
    stages = charts.stage_bars(entries, chosen) if all(entry.get("cost") for entry in entries) else []
    best = next(entry for entry in entries if entry["name"] == chosen)
    shared = charts.split_bars(best) if best.get("instances") else []
    return {
        "scatter": plots,
        "latency": {kind: charts.bars(latencies, width) for kind, width in half.items()},
        "size": {kind: charts.bars(sizes, width) for kind, width in half.items()},
        "stages": {kind: charts.bars(stages, width) for kind, width in half.items() if stages},
        "instances": {kind: charts.bars(shared, width) for kind, width in half.items() if shared},
    }


def _trained(made: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps that trained something, each with its learning curve drawn twice."""
    from compress.benchmark.report.charts import draw_curve

    widths = {"wide": _HALF_PX, "narrow": _NARROW_PX}
    return [
        {**row, "chart": {kind: draw_curve(row["curve"], width - _AXIS_PX) for kind, width in widths.items()}}
        for row in made
        if row["curve"] is not None
    ]


def recall_rows(entries: Sequence[Entry], chosen: Entry) -> dict[str, Any] | None:
    """Each label's recall by every model; of many labels those where the chosen model's is lowest."""
    if not chosen["accuracy"] or "recall" not in chosen["accuracy"]:
        return None
    own = [each["recall"] for each in chosen["accuracy"]["recall"]]
    order = list(range(len(own)))
    if len(own) > _MOST_LABELS:
        order = sorted(order, key=lambda place: 2.0 if own[place] is None else own[place])[:_MOST_LABELS]
    rows = [
        {**chosen["accuracy"]["recall"][place], "recalls": [e["accuracy"]["recall"][place]["recall"] for e in entries]}
        for place in order
    ]
    return {"rows": rows, "left_out": len(own) - len(rows)}


def grid_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """One row for each load and thread count, with the models' latencies in order, None where a load did not fit.

    There are no rows for the first load alone.
    """
    found = [{_shape(each): each for each in entry["latency"]} for entry in entries]
    shapes = dict.fromkeys(shape for each in found for shape in each)
    rows = [
        {"batch": batch, "length": length, "threads": threads}
        | {"cells": [each.get((batch, length, threads)) for each in found]}
        for batch, length, threads in shapes
    ]
    return rows if len(rows) > 1 else []


def _shape(latency: Mapping[str, Any]) -> tuple[int, int | str, int]:
    return latency["batch"], latency["length"], latency["threads"]


def steps(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every step in the models' histories once: the model that it made, time and metrics in words, learning curve."""
    from compress.benchmark.report.charts import curve_of

    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for past in entry["history"]:
            key = json.dumps(past, sort_keys=True)
            row = {"model": "", "step": past["step"], "time": in_words(past["seconds"])}
            found.setdefault(key, row | {"metrics": _metrics(past), "curve": curve_of(past)})
        if entry["history"]:
            made = found[key]
            made["model"] = ", ".join(filter(None, (made["model"], entry["name"])))
    return list(found.values())


def _metrics(past: Mapping[str, Any]) -> str:
    numbers = {name: value for name, value in past.get("metrics", {}).items() if isinstance(value, int | float)}
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in numbers.items())


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
