"""Learning curves: the validation metric and the loss of a training step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from compress.benchmark.report import formatting
from compress.benchmark.report.charts import ACCENT, INK, QUIET, as_svg, inline

_METRIC_PX, _LOSS_PX = 110, 60
_PREFIX = "validation_"


@dataclass(frozen=True, slots=True)
class Curve:
    """The learning curve of a training step.

    Attributes:
        metric: the validation metric that the checkpoint was chosen by.
        best_step: optimiser steps that the kept checkpoint had taken.
        points: one mapping a validation, at least two: ``step``, ``loss`` and the metric as a fraction.
    """

    metric: str
    best_step: int
    points: tuple[Mapping[str, float], ...]

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


def draw(curve: Curve, width: int) -> str:
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
    return label.encode(text="text:N", x=alt.value(0), y=alt.value(-9))
