"""The report: one page to look at, one table to paste, one document to compute with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.benchmark.report import charts
from compress.benchmark.report.recommend import split_of, texts_of
from compress.benchmark.report.risks import risk_chart
from compress.benchmark.report.scatter import scatter
from compress.benchmark.report.sentences import cascade_words, selection_words, split_words
from compress.benchmark.report.speedup import (
    Entry,
    answer_interval_ms,
    answer_ms,
    average_word,
    can_be_stated,
    comparable,
    has_answers,
    of_answers,
    p50_ms,
    speedup,
)
from compress.clock import in_words
from compress.formatting import figures, metric_name
from compress.templates import fill

_FULL_PX, _HALF_PX = {"wide": 1010, "narrow": 350}, {"wide": 480, "narrow": 350}
_AXIS_PX = 40
_MOST_LABELS, _MOST_FLIPS = 20, 20
_DRAWN_POINTS, _DRAWN_TIMES = 10.0, 4.0  # a search's chart has losses up to so many points, or times the chosen's


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
    return _filled(
        "report.html.j2",
        results,
        chosen=chosen,
        charts=_charts(entries, chosen),
        throughputs=[entry for entry in entries if entry.get("throughput")],
        costs=[entry for entry in entries if entry.get("cost")],
        recalls=recall_rows(entries, chosen),
        flips=[entry for entry in entries if entry.get("flips", {}).get("count")],
        most_flips=_MOST_FLIPS,
        grid=grid_rows(entries),
        steps=made,
        trained=_trained(made),
        all_stated=all(can_be_stated(of_answers(entry["versus_first"])) for entry in entries),
        one_thread=any("one_thread" in entry["versus_first"] for entry in entries),
        search=_search(results.get("search")),
        can_be_stated=can_be_stated,
        in_words=in_words,
    )


def as_markdown(results: Mapping[str, Any]) -> str:
    """Headline, one table, and the machine."""
    return _filled("report.md.j2", results)


def _filled(template: str, results: Mapping[str, Any], **values: Any) -> str:
    """A template filled with ``values`` and with all that both the page and the Markdown show."""
    entries = results["models"]
    first, split = entries[0], split_of(results)
    return fill(
        "compress.benchmark.report",
        template,
        results={"warnings": [], "left_out": [], "skipped": [], **results},  # documents of before 0.2 have none
        first=first,
        metric=metric_name(first["accuracy"]["metric"]) if first["accuracy"] else None,
        texts=texts_of(results),
        split=split,
        partial=results.get("partial"),
        divided=[entry for entry in entries if entry.get("instances")],
        cascades=[cascade_words(entry, split) for entry in entries if entry.get("cascade")],
        selections=[selection_words(entry, split) for entry in entries if (entry["accuracy"] or {}).get("selection")],
        has_answers=has_answers(entries),
        average=average_word(first),
        answer_ms=answer_ms,
        answer_interval_ms=answer_interval_ms,
        comparable=comparable,
        p50_ms=p50_ms,
        of_answers=of_answers,
        speedup=speedup,
        split_words=split_words,
        **values,
    )


def _search(search: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What `compress auto` tried, with its chart drawn twice; None where nothing was searched.

    The chart leaves out tries that lose far more than the chosen one (or the best, where none was chosen), since beside
    them all others would fall on one spot; models of the front are always drawn. The page says how many are left out,
    and its table has them all.
    """
    if search is None:
        return None
    tries = search["tries"]
    loss = next((entry["loss"] for entry in tries if entry["name"] == search["chosen"]), None)
    least = min(entry["loss"] for entry in tries) if loss is None else loss
    most = max([_DRAWN_POINTS, _DRAWN_TIMES * least, *(entry["loss"] for entry in tries if entry["shown"])])
    points = [{**entry, "name": entry["shown"]} for entry in tries if entry["loss"] <= most]
    chart = {kind: scatter(points, search["chosen"], width - _AXIS_PX, 320) for kind, width in _FULL_PX.items()}
    return {**search, "chart": chart, "outside": len(tries) - len(points), "most_lost": most}


def _charts(entries: Sequence[Entry], chosen: Entry) -> dict[str, dict[str, str]]:
    """Each chart drawn twice, so that its text is as large on a phone as on a desk."""
    name, judged = chosen["name"], entries[0]["accuracy"] is not None
    plots = {kind: scatter(entries, name, width - _AXIS_PX, 320) for kind, width in _FULL_PX.items() if judged}
    risks = {kind: drawn for kind, width in _FULL_PX.items() if (drawn := risk_chart(entries, name, width - _AXIS_PX))}
    bars = {
        "latency": charts.latency_bars(entries, name),
        "size": charts.size_bars(entries, name),
        "instances": charts.split_bars(chosen) if chosen.get("instances") else [],
    }
    return {"scatter": plots, "risks": risks} | {
        chart: {kind: charts.bars(rows, width) for kind, width in _HALF_PX.items() if rows}
        for chart, rows in bars.items()
    }


def _trained(made: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps that have a learning curve, each with the curve drawn twice."""
    return [
        {**row, "chart": {kind: charts.draw_curve(row["curve"], width - _AXIS_PX) for kind, width in _HALF_PX.items()}}
        for row in made
        if row["curve"] is not None
    ]


def recall_rows(entries: Sequence[Entry], chosen: Entry) -> dict[str, Any] | None:
    """Each label's recall by every model; if there are many labels, those that the chosen model knows worst."""
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
    """For each load and thread count, if there are several, the models' latencies; None where a load was too much."""
    shape = ("batch", "length", "threads")
    by_shape = [{tuple(timed[name] for name in shape): timed for timed in entry["latency"]} for entry in entries]
    shapes = dict.fromkeys(key for latencies in by_shape for key in latencies)
    rows = [dict(zip(shape, key, strict=True)) | {"cells": [each.get(key) for each in by_shape]} for key in shapes]
    return rows if len(rows) > 1 else []


def steps(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every step in the models' histories once: the model that it made, time and metrics in words, learning curve."""
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for past in entry["history"]:
            key = json.dumps(past, sort_keys=True)
            row = {"model": "", "step": past["step"], "time": in_words(past["seconds"])}
            rows.setdefault(key, row | {"metrics": figures(past.get("metrics", {})), "curve": charts.curve_of(past)})
        if entry["history"]:
            made = rows[key]
            made["model"] = ", ".join(filter(None, (made["model"], entry["name"])))
    return list(rows.values())
