"""How all charts look, bar charts of latency, its stages, size and throughput, and learning curves.

SVG takes its colours from the page, so that a chart follows dark mode and print.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from compress.benchmark.report import formatting
from compress.benchmark.report.speedup import Entry, p50_ms

# Set by the page's style sheet.
INK, QUIET, ACCENT, TRACK = "var(--ink)", "var(--quiet)", "var(--accent)", "var(--track)"
_ROW_PX, _METRIC_PX, _LOSS_PX = 40, 110, 60
_PREFIX = "validation_"
_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


def inline(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Rows as data that a chart holds itself."""
    return alt.InlineData(values=[dict(row) for row in rows])


def as_svg(chart: alt.LayerChart | alt.FacetChart | alt.VConcatChart) -> str:
    """Render to SVG that scales with its place and whose ids clash with no other chart's."""
    import vl_convert

    axis = {"labelColor": QUIET, "titleColor": QUIET, "domainColor": TRACK, "tickColor": TRACK, "gridColor": TRACK}
    fonts = {"labelFont": _FONT, "titleFont": _FONT, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 400}
    spec = (
        chart.configure(background="transparent", padding=2, aria=False)
        .configure_view(stroke=None)
        .configure_axis(**axis, **fonts, titlePadding=8)
        .configure_text(font=_FONT, fontSize=12, baseline="middle")
        .to_dict(validate=False)  # against altair's own schema, which takes longer than the drawing
    )
    svg: str = vl_convert.vegalite_to_svg(spec)
    svg = re.sub(r'(<svg[^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", svg, count=1)
    return _own_ids(svg)


def _own_ids(svg: str) -> str:
    """Ids that depend on the chart alone; the renderer counts them up over a process, and a page holds many charts."""
    names = list(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))
    places = re.compile("|".join(rf'(?<=\bid="){name}(?=")|(?<=url\(#){name}(?=\))' for name in map(re.escape, names)))
    chart = zlib.crc32(places.sub("", svg).encode())
    return places.sub(lambda found: f"c{chart:x}-{names.index(found.group())}", svg) if names else svg


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart: a thin line leads from its end to ``until``, and as far as ``quiet`` it is paler."""

    name: str
    value: float
    text: str
    accent: bool
    until: float | None = None
    quiet: float = 0.0


def bars(rows: Sequence[Bar], width: int) -> str:
    """Horizontal bars with the name and the figure above each, so that no name is too long for its place."""
    largest = max(row.until or row.value for row in rows)
    data = [
        {"row": number, "name": row.name, "value": row.value, "text": row.text, "accent": row.accent}
        | {"until": row.until or row.value, "most": largest, "quiet": row.quiet}
        for number, row in enumerate(rows)
    ]
    x_scale = alt.Scale(domain=[0, largest], nice=False)
    base = alt.Chart(inline(data)).encode(
        y=alt.Y("row:O", axis=None),
        color=alt.condition("datum.accent", alt.value(ACCENT), alt.value(INK)),
    )
    thick = base.mark_bar(height=8, cornerRadius=2, yOffset=6)
    layers = [
        thick.encode(x=alt.X("most:Q", scale=x_scale, axis=None), color=alt.ColorValue(TRACK)),
        thick.encode(x=alt.X("value:Q", scale=x_scale, axis=None)),
        thick.encode(x=alt.X("quiet:Q"), color=alt.ColorValue(QUIET)),
        base.mark_bar(height=2, yOffset=6).encode(x=alt.X("value:Q"), x2=alt.X2("until:Q")),
        base.mark_text(align="left", fontWeight=600, dy=-12).encode(text=alt.Text("name:N"), x=alt.value(0)),
        base.mark_text(align="right", dy=-12).encode(
            text=alt.Text("text:N"), x=alt.value(width), color=alt.ColorValue(INK)
        ),
    ]
    return as_svg(alt.layer(*layers).properties(width=width, height=_ROW_PX * len(rows)))


def size_bars(entries: Sequence[Entry], chosen: str) -> list[Bar]:
    """Each model's size in MB."""
    named = ((entry["name"], entry["size_bytes"]) for entry in entries)
    return [Bar(name, size / 1e6, formatting.megabytes(size), name == chosen) for name, size in named]


def latency_bars(entries: Sequence[Entry], chosen: str) -> list[Bar]:
    """Each model's p50 in ms on real texts, the thin line up to its p95."""
    rows = []
    for entry in entries:
        p50, p95 = p50_ms(entry), entry["latency"][0]["p95_ms"]
        text = f"{formatting.milliseconds(p50)}, p95 {formatting.bare_ms(p95)}"
        rows.append(Bar(entry["name"], p50, text, entry["name"] == chosen, until=p95))
    return rows


def stage_bars(entries: Sequence[Entry], chosen: str) -> list[Bar]:
    """The time of a text from string to answer: the tokenizer's median, paler, and the model's."""
    rows = []
    for entry in entries:
        tokenizer, model = float(entry["cost"]["tokenizer_p50_ms"]), p50_ms(entry)
        text = f"{formatting.bare_ms(tokenizer)} + {formatting.milliseconds(model)}"
        rows.append(Bar(entry["name"], tokenizer + model, text, entry["name"] == chosen, quiet=tokenizer))
    return rows


def split_bars(entry: Entry) -> list[Bar]:
    """Texts a second of each split, the best one marked."""
    best = max(split["texts_per_s"] for split in entry["instances"])
    rows = []
    for split in entry["instances"]:
        rate = split["texts_per_s"]
        text = f"{formatting.rate(rate)} texts/s, p95 {formatting.milliseconds(split['p95_ms'])}"
        rows.append(Bar(formatting.split_name(split), rate, text, rate == best))
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
    base = alt.Chart(inline(rows)).properties(width=width)
    x_scale = alt.Scale(domain=[0, rows[-1]["step"]], nice=False)
    bare_x = alt.X("step:Q", scale=x_scale).axis(labels=False, ticks=False, domain=False, title=None, grid=False)
    x = alt.X("step:Q", scale=x_scale).axis(title="training steps", tickCount=5, format="d", grid=False)
    metric_scale = alt.Scale(domain=metric_domain([row["metric"] for row in rows]), nice=False)
    metric_y = alt.Y("metric:Q", scale=metric_scale).axis(title=None, tickCount=4, labelExpr="datum.label + '%'")
    loss_y = alt.Y("loss:Q", scale=alt.Scale(zero=True, nice=True)).axis(title=None, tickCount=2)
    metric = alt.layer(
        base.mark_line(color=INK, strokeWidth=1.5).encode(x=bare_x, y=metric_y),
        base.transform_filter("datum.kept").mark_circle(size=70, color=ACCENT, opacity=1).encode(x=bare_x, y=metric_y),
        _name(formatting.metric_name(curve.metric)),
    )
    loss = alt.layer(base.mark_line(color=QUIET, strokeWidth=1.5).encode(x=x, y=loss_y), _name("loss"))
    return as_svg(alt.vconcat(metric.properties(height=_METRIC_PX), loss.properties(height=_LOSS_PX), spacing=26))


def metric_domain(percents: Sequence[float]) -> list[float]:
    """From below the smallest to above the largest, at least two points: less is noise and should look small."""
    low, high = min(percents), max(percents)
    middle, half = (low + high) / 2, max(0.55 * (high - low), 1.0)
    return [max(middle - half, 0.0), min(middle + half, 100.0)]


def _name(text: str) -> alt.Chart:
    """A panel's title, above its left corner."""
    label: alt.Chart = alt.Chart(inline([{"text": text}])).mark_text(align="left", color=QUIET, fontSize=11)
    return label.encode(text=alt.Text("text:N"), x=alt.value(0), y=alt.value(-9))
