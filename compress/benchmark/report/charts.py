"""The style of all charts, bar charts of latency, size and throughput, and learning curves.

The SVG takes its colours from the page, so that a chart follows dark mode and print. Charts are described in Vega-Lite,
as plain dictionaries: a layer is a mark with an encoding, whose channels take a field of the data or a value. An
encoding that all layers of a chart share stands beside them.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress import formatting
from compress.benchmark.report.sentences import split_name
from compress.benchmark.report.speedup import Entry, p50_ms

# Colours that the page's style sheet sets.
INK, QUIET, ACCENT, TRACK = "var(--ink)", "var(--quiet)", "var(--accent)", "var(--track)"
_ROW_PX, _METRIC_PX, _LOSS_PX = 40, 110, 60
_PREFIX = "validation_"
_ID = re.compile(r'(\bid="|\burl\(#)([^")]+)')  # an id where it is defined or used
_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


Spec = dict[str, Any]

INK_OR_ACCENT = {"condition": {"test": "datum.accent", "value": ACCENT}, "value": INK}
_AXIS = {"labelColor": QUIET, "titleColor": QUIET, "domainColor": TRACK, "tickColor": TRACK, "gridColor": TRACK}
_AXIS_FONTS = {"labelFont": _FONT, "titleFont": _FONT, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 400}
_CONFIG = {
    "background": "transparent",
    "padding": 2,
    "aria": False,
    "view": {"stroke": None},
    "axis": _AXIS | _AXIS_FONTS | {"titlePadding": 8},
    "text": {"font": _FONT, "fontSize": 12, "baseline": "middle"},
}


def inline(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Rows as data that a chart or a layer holds itself."""
    return {"values": [dict(row) for row in rows]}


def number(field: str, **options: Any) -> Spec:
    """A channel that takes the numbers of ``field``."""
    return {"field": field, "type": "quantitative", **options}


def words(field: str) -> Spec:
    """A channel that takes the text of ``field``."""
    return {"field": field, "type": "nominal"}


def layer(mark: Spec, rows: Sequence[Mapping[str, Any]] | None = None, /, **channels: Spec) -> Spec:
    """A layer: a mark with its own channels beside the shared ones, and ``rows`` if it has data of its own."""
    own = {} if rows is None else {"data": inline(rows)}
    return {"mark": mark, "encoding": channels, **own}


def as_svg(chart: Spec) -> str:
    """The chart as SVG that scales with its place on the page and whose ids clash with no other chart's."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg({"config": _CONFIG, **chart})
    svg = re.sub(r'(<svg[^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", svg, count=1)
    return _with_own_ids(svg)


def _with_own_ids(svg: str) -> str:
    """The SVG with ids that depend on the chart alone; the renderer counts ids up for as long as a process lives."""
    numbers: dict[str, int] = {}
    chart = zlib.crc32(_ID.sub(r"\1", svg).encode())
    return _ID.sub(lambda match: f"{match[1]}c{chart:x}-{numbers.setdefault(match[2], len(numbers))}", svg)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a bar chart; a thin line leads from its end to ``until``."""

    name: str
    value: float
    text: str
    accent: bool
    until: float | None = None


def bars(rows: Sequence[Bar], width: int) -> str:
    """Horizontal bars with name and figure above each, so that long names fit."""
    largest = max(row.until or row.value for row in rows)
    data = [
        {"row": number, "name": row.name, "value": row.value, "text": row.text, "accent": row.accent}
        | {"until": row.until or row.value, "most": largest}
        for number, row in enumerate(rows)
    ]
    scale = {"domain": [0, largest], "nice": False}
    thick: Spec = {"type": "bar", "height": 8, "cornerRadius": 2, "yOffset": 6}
    thin: Spec = {"type": "bar", "height": 2, "yOffset": 6}
    layers = [
        layer(thick, x=number("most", scale=scale, axis=None), color={"value": TRACK}),
        layer(thick, x=number("value", scale=scale, axis=None)),
        layer(thin, x=number("value"), x2={"field": "until"}),
        layer({"type": "text", "align": "left", "fontWeight": 600, "dy": -12}, text=words("name"), x={"value": 0}),
        layer({"type": "text", "align": "right", "dy": -12}, text=words("text"), x={"value": width},
              color={"value": INK}),
    ]  # fmt: skip
    shared = {"y": {"field": "row", "type": "ordinal", "axis": None}, "color": INK_OR_ACCENT}
    size = {"width": width, "height": _ROW_PX * len(rows)}
    return as_svg({"data": inline(data), "encoding": shared, "layer": layers, **size})


def size_bars(entries: Sequence[Entry], chosen: str) -> list[Bar]:
    """Each model's size in MB."""
    named = ((entry["name"], entry["size_bytes"]) for entry in entries)
    return [Bar(name, size / 1e6, formatting.megabytes(size), name == chosen) for name, size in named]


def latency_bars(entries: Sequence[Entry], chosen: str) -> list[Bar]:
    """Each model's p50 in ms on real texts, with a thin line up to its p95."""
    rows = []
    for entry in entries:
        p50, p95 = p50_ms(entry), entry["latency"][0]["p95_ms"]
        text = f"{formatting.milliseconds(p50)}, p95 {formatting.bare_ms(p95)}"
        rows.append(Bar(entry["name"], p50, text, entry["name"] == chosen, until=p95))
    return rows


def split_bars(entry: Entry) -> list[Bar]:
    """Texts a second of each split, the best one marked."""
    best = max(split["texts_per_s"] for split in entry["instances"])
    rows = []
    for split in entry["instances"]:
        rate = split["texts_per_s"]
        text = f"{formatting.rate(rate)} texts/s, p95 {formatting.milliseconds(split['p95_ms'])}"
        rows.append(Bar(split_name(split), rate, text, rate == best))
    return rows


@dataclass(frozen=True, slots=True)
class Curve:
    """The learning curve of a training step."""

    metric: str  # the validation metric that the checkpoint was chosen by
    best_step: int  # optimiser steps that the kept checkpoint had taken
    points: tuple[Mapping[str, float], ...]  # one a validation, at least two: step, loss and the metric as a fraction

    @property
    def in_words(self) -> str:
        """The kept checkpoint: ``accuracy 95.9%, step 112 of 168``."""
        best = next(point[self.metric] for point in self.points if point["step"] == self.best_step)
        last = self.points[-1]["step"]
        return f"{formatting.metric_name(self.metric)} {formatting.percent(best)}, step {self.best_step:,} of {last:,}"


def curve_of(past: Mapping[str, Any]) -> Curve | None:
    """The curve of a step in a model's history; None for a step that trained nothing or validated only once."""
    metrics = past.get("metrics", {})
    points = tuple(metrics.get("curve", ()))
    metric = next((name.removeprefix(_PREFIX) for name in metrics if name.startswith(_PREFIX)), "")
    return Curve(metric, metrics["best_step"], points) if len(points) > 1 else None


def draw_curve(curve: Curve, width: int) -> str:
    """The metric above the loss, on one axis of steps, ``width`` pixels wide without the scales."""
    rows = [
        {"step": point["step"], "metric": 100 * point[curve.metric], "loss": point["loss"]}
        | {"kept": point["step"] == curve.best_step}
        for point in curve.points
    ]
    x = number("step", scale={"domain": [0, rows[-1]["step"]], "nice": False})
    bare_x = x | {"axis": {"labels": False, "ticks": False, "domain": False, "title": None, "grid": False}}
    titled_x = x | {"axis": {"title": "training steps", "tickCount": 5, "format": "d", "grid": False}}
    scale = {"domain": metric_domain([row["metric"] for row in rows]), "nice": False}
    metric_axis = {"title": None, "tickCount": 4, "labelExpr": "datum.label + '%'"}
    of_metric = {"x": bare_x, "y": number("metric", scale=scale, axis=metric_axis)}
    loss_scale, loss_axis = {"zero": True, "nice": True}, {"title": None, "tickCount": 2}
    of_loss = {"x": titled_x, "y": number("loss", scale=loss_scale, axis=loss_axis)}
    kept = {"type": "circle", "size": 70, "color": ACCENT, "opacity": 1}
    metric = [
        layer(_line(INK), **of_metric),
        layer(kept, **of_metric) | {"transform": [{"filter": "datum.kept"}]},
        _name(formatting.metric_name(curve.metric)),
    ]
    loss = [layer(_line(QUIET), **of_loss), _name("loss")]
    panels = [
        {"layer": layers, "width": width, "height": height}
        for layers, height in ((metric, _METRIC_PX), (loss, _LOSS_PX))
    ]
    return as_svg({"data": inline(rows), "vconcat": panels, "spacing": 26})


def metric_domain(percents: Sequence[float]) -> list[float]:
    """The axis, from below the smallest to above the largest, at least two points: noise should look small."""
    low, high = min(percents), max(percents)
    middle, half = (low + high) / 2, max(0.55 * (high - low), 1.0)
    return [max(middle - half, 0.0), min(middle + half, 100.0)]


def _line(colour: str) -> Spec:
    return {"type": "line", "color": colour, "strokeWidth": 1.5}


def _name(text: str) -> Spec:
    """A panel's title, above its left corner."""
    mark = {"type": "text", "align": "left", "color": QUIET, "fontSize": 11}
    return layer(mark, [{"text": text}], text=words("text"), x={"value": 0}, y={"value": -9})
