"""The report: one page to look at, one table to paste, one document to compute with."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.benchmark.report import formatting
from compress.benchmark.report.recommend import split_of, texts_of
from compress.benchmark.report.speedup import (
    Entry,
    answer_ms,
    can_be_stated,
    has_answers,
    of_answers,
    p50_ms,
    speedup,
)
from compress.clock import in_words

if TYPE_CHECKING:
    from jinja2 import Template

_FULL_PX, _HALF_PX = {"wide": 890, "narrow": 350}, {"wide": 420, "narrow": 350}
_AXIS_PX = 40
_MOST_LABELS, _MOST_FLIPS = 20, 20


def write_report(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.html``, ``report.md`` and ``results.json`` into ``folder``, which must exist.

    ``results`` is what :func:`compress.benchmark.measure.bench` returns, or the content of a results.json. The raw
    times go into ``samples.jsonl``, one line a model and load: each call of each round in milliseconds.
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
    entries = results["models"]
    made = steps(entries)
    chosen = next(entry for entry in entries if entry["name"] == results["recommendation"]["name"])
    page = _template().render(
        results={"warnings": [], "left_out": [], "skipped": [], **results},  # documents of before 0.2 have none
        formatting=formatting,
        first=entries[0],
        chosen=chosen,
        metric=formatting.metric_name(entries[0]["accuracy"]["metric"]) if entries[0]["accuracy"] else None,
        texts=texts_of(results),
        split=split_of(results),
        partial=results.get("partial"),
        charts=_charts(entries, chosen),
        throughputs=[entry for entry in entries if entry.get("throughput")],
        divided=[entry for entry in entries if entry.get("instances")],
        costs=[entry for entry in entries if entry.get("cost")],
        cascades=_cascades(entries, split_of(results)),
        selections=_selections(entries, split_of(results)),
        recalls=recall_rows(entries, chosen),
        flips=[entry for entry in entries if entry.get("flips", {}).get("count")],
        most_flips=_MOST_FLIPS,
        grid=grid_rows(entries),
        steps=made,
        trained=_trained(made),
        answer_ms=answer_ms,
        has_answers=has_answers(entries),
        of_answers=of_answers,
        speedup=speedup,
        can_be_stated=can_be_stated,
        all_stated=all(can_be_stated(of_answers(entry["versus_first"])) for entry in entries),
        neighbours=_neighbours(results),
        search=_search(results.get("search")),
        in_words=in_words,
    )
    return page + "\n"


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("compress.benchmark.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _search(search: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What `compress auto` tried, with its chart drawn twice; None where nothing was searched."""
    from compress.benchmark.report.scatter import scatter

    if search is None:
        return None
    points = [{**entry, "name": entry["shown"]} for entry in search["tries"]]
    chart = {kind: scatter(points, search["chosen"], width - _AXIS_PX, 320) for kind, width in _FULL_PX.items()}
    return {**search, "chart": chart}


def _neighbours(results: Mapping[str, Any]) -> list[str]:
    """What was done so that other processes cost every model alike, for the section on the method."""
    sentences = []
    if results.get("spin") is not None:
        sentences.append(
            f"PyTorch's threads wait for each other with GOMP_SPINCOUNT={results['spin']}, so that they give up a CPU"
            " soon where another process needs it; with the library's default they would hold it."
        )
    if any("one_thread" in entry["versus_first"] for entry in results["models"]):
        sentences.append(
            "The machine was busy, so each model was timed with one thread as well: a thread alone waits for no other."
        )
    return sentences


def _selections(entries: Sequence[Entry], split: str) -> list[str]:
    """A sentence for each model whose folder says when to abstain."""
    abstaining = (entry for entry in entries if (entry["accuracy"] or {}).get("selection"))
    return [formatting.selection_words(entry, split) for entry in abstaining]


def _cascades(entries: Sequence[Entry], split: str) -> list[str]:
    """A sentence for each cascade."""
    return [formatting.cascade_words(entry, split) for entry in entries if entry.get("cascade")]


def _charts(entries: Sequence[Entry], chosen: Entry) -> dict[str, dict[str, str]]:
    """Each chart drawn twice, so that its text is as large on a phone as on a desk."""
    from compress.benchmark.report import charts
    from compress.benchmark.report.risks import risk_chart
    from compress.benchmark.report.scatter import scatter

    name, judged = chosen["name"], entries[0]["accuracy"] is not None
    plots = {kind: scatter(entries, name, width - _AXIS_PX, 320) for kind, width in _FULL_PX.items() if judged}
    risks = {kind: drawn for kind, width in _FULL_PX.items() if (drawn := risk_chart(entries, name, width - _AXIS_PX))}
    bars = {
        "latency": charts.latency_bars(entries, name),
        "size": charts.size_bars(entries, name),
        "stages": charts.stage_bars(entries, name) if all(entry.get("cost") for entry in entries) else [],
        "instances": charts.split_bars(chosen) if chosen.get("instances") else [],
    }
    return {"scatter": plots, "risks": risks} | {
        chart: {kind: charts.bars(rows, width) for kind, width in _HALF_PX.items() if rows}
        for chart, rows in bars.items()
    }


def _trained(made: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps that trained something, each with its learning curve drawn twice."""
    from compress.benchmark.report.charts import draw_curve

    return [
        {**row, "chart": {kind: draw_curve(row["curve"], width - _AXIS_PX) for kind, width in _HALF_PX.items()}}
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
    """For each load and thread count, if there are several, the models' latencies; None where a load did not fit."""
    shape = ("batch", "length", "threads")
    found = [{tuple(each[name] for name in shape): each for each in entry["latency"]} for entry in entries]
    shapes = dict.fromkeys(key for each in found for key in each)
    rows = [dict(zip(shape, key, strict=True)) | {"cells": [each.get(key) for each in found]} for key in shapes]
    return rows if len(rows) > 1 else []


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
    shown = {name: f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for name, value in numbers.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def as_markdown(results: Mapping[str, Any]) -> str:
    """Headline, one table, and the machine."""
    entries = results["models"]
    judged = entries[0]["accuracy"] is not None
    answers = has_answers(entries)
    heads = ["Model", "Same answer", "p50 ms", "p95 ms", "Texts/s", "Size", "Speed-up"]
    if answers:
        heads = [*heads[:2], "Answer ms", *heads[2:], "Model's speed-up"]
    if judged:
        metric = formatting.capital(formatting.metric_name(entries[0]["accuracy"]["metric"]))
        heads[1:1] = [f"{metric} (95%)", "Points (95%)"]
    notes = [
        *(f"Not measured: {failure['name']}: {failure['reason']}" for failure in results["failed"]),
        *(f"Left out: {model['name']}: {model['reason']}" for model in results.get("left_out", ())),
        *(f"Skipped: {skip['name']}, {skip['load']}: {skip['reason']}" for skip in results.get("skipped", ())),
        *_cascades(entries, split_of(results)),
        *_selections(entries, split_of(results)),
        *(formatting.split_words(entry) for entry in entries if entry.get("instances")),
    ]
    lines = [
        f"**{results['recommendation']['headline']}**",
        "",
        results["recommendation"]["why"],
        "",
        *(["Partial: interrupted before everything was measured.", ""] if results.get("partial") else []),
        *(line for warning in results.get("warnings", ()) for line in (f"Careful: {warning}", "")),
        f"| {' | '.join(heads)} |",
        f"|---|{'---:|' * (len(heads) - 1)}",
        *(_table_row(entry, answers=answers) for entry in entries),
        "",
        *(line for note in notes for line in (note, "")),
        _conditions(results),
    ]
    return "\n".join(lines) + "\n"


def _table_row(entry: Entry, *, answers: bool) -> str:
    accuracy, change, real = entry["accuracy"], entry["versus_first"], entry["latency"][0]
    judged = accuracy and (
        f"{formatting.percent(accuracy['value'])} ({formatting.percents(accuracy['ci95'])})",
        f"{formatting.points(change['accuracy_delta'])} ({formatting.points_range(change['ci95'])})",
    )
    cells = (
        entry["name"].replace("|", "\\|"),
        *(judged or ()),
        formatting.percent(change["agreement"]),
        *([formatting.bare_ms(answer_ms(entry))] if answers else []),
        formatting.bare_ms(p50_ms(entry)),
        formatting.bare_ms(real["p95_ms"]),
        formatting.rate(real["texts_per_s"]),
        formatting.megabytes(entry["size_bytes"]),
        *([speedup(of_answers(change))] if answers else []),
        speedup(change),
    )
    return f"| {' | '.join(cells)} |"


def _conditions(results: Mapping[str, Any]) -> str:
    machine, first = results["machine"], results["models"][0]
    device = machine["gpu"] if first["device"] == "cuda" else machine["cpu"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    timed = "model time only (token ids in, logits out)"
    if has_answers(results["models"]):
        timed = f"answer: text in, label out; p50, p95 and texts/s: {timed}"
    return (
        f"Batch 1 on {texts_of(results)} {split_of(results)} texts as they come,"
        f" {first['latency'][0]['threads']} threads,"
        f" {timed}. {device}"
        f" ({', '.join(machine['cpu_flags'])}); {versions}."
    )
