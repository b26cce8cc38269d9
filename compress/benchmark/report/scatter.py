"""The chart of accuracy against latency, with intervals and the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from compress.benchmark.report.charts import ACCENT, INK, QUIET, as_svg, inline
from compress.benchmark.report.label_placement import Box, place_labels
from compress.benchmark.report.recommend import Entry, p50_ms

_WHISKER_PX = 3.0
_LEFT_ROOM_PX, _RIGHT_ROOM_PX = 24, 70


def scatter(entries: Sequence[Entry], chosen: str, width: int, height: int) -> str:
    """Accuracy against the median latency, with 95% intervals of both and the Pareto front."""
    data = [_point(entry, entry["name"] == chosen) for entry in entries]
    x_domain = _x_domain(data, width)
    y_domain = _y_domain(data)
    x = alt.X("x:Q", scale=alt.Scale(type="log", domain=x_domain, nice=False)).axis(
        values=log_ticks(*x_domain), format="~g", title="median latency, ms a text (log scale)", grid=False
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=y_domain, nice=False)).axis(
        title=None, tickCount=5, labelExpr="datum.label + '%'"
    )
    base = alt.Chart(inline(data)).encode(
        x=x, y=y, color=alt.condition("datum.accent", alt.value(ACCENT), alt.value(INK))
    )
    front = alt.Chart(inline(pareto_front(data))).mark_line(
        interpolate="step-after", strokeWidth=1.5, strokeDash=[4, 3], color=QUIET
    )
    layers = [
        front.encode(x=x, y=y),
        base.mark_rule(strokeWidth=1.2, opacity=0.55).encode(y="low:Q", y2="high:Q"),
        base.mark_rule(strokeWidth=1.2, opacity=0.55).encode(x="left:Q", x2="right:Q"),
        base.mark_circle(size=90, opacity=1),
        *_labels(data, x_domain, y_domain, width, height),
    ]
    return as_svg(alt.layer(*layers).properties(width=width, height=height))


def pareto_front(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points that no other beats in both latency ``x`` and accuracy ``y``, fastest first."""
    front: list[Mapping[str, Any]] = []
    for point in sorted(points, key=lambda point: (point["x"], -point["y"])):
        if not front or point["y"] > front[-1]["y"]:
            front.append(point)
    return front


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between ``low`` and ``high``: powers of ten, with 2 and 5 between them, and more where few fit."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [round(step * 10.0**power, 9) for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            break
    return inside


def _point(entry: Entry, accent: bool) -> dict[str, Any]:
    left, right = entry["latency"][0]["p50_ci95"]
    low, high = entry["accuracy"]["ci95"]
    figures = {"x": p50_ms(entry), "y": 100 * entry["accuracy"]["value"]}
    return figures | {
        "name": entry["name"],
        "accent": accent,
        "left": left,
        "right": right,
        "low": 100 * low,
        "high": 100 * high,
    }


def _x_domain(data: Sequence[Mapping[str, Any]], width: int) -> list[float]:
    """From the fastest to the slowest point, with room on the right for a label."""
    low, high = (math.log(edge) for edge in (min(at["left"] for at in data), max(at["right"] for at in data)))
    span = max(high - low, math.log(2))
    a_pixel = span / (width - _LEFT_ROOM_PX - _RIGHT_ROOM_PX)
    return [math.exp(low - _LEFT_ROOM_PX * a_pixel), math.exp(low + span + _RIGHT_ROOM_PX * a_pixel)]


def _y_domain(data: Sequence[Mapping[str, Any]]) -> list[float]:
    low, high = min(point["low"] for point in data), max(point["high"] for point in data)
    margin = max(0.08 * (high - low), 0.5)
    return [low - margin, high + margin]


def _labels(
    data: Sequence[Mapping[str, Any]], x_domain: Sequence[float], y_domain: Sequence[float], width: int, height: int
) -> list[alt.Chart]:
    """A text layer for each point, since each label has its own place, and a line to labels that lie further off."""

    def across(value: float) -> float:
        low, high = map(math.log, x_domain)
        return width * (math.log(value) - low) / (high - low)

    def down(value: float) -> float:
        return height * (y_domain[1] - value) / (y_domain[1] - y_domain[0])

    spots = [(across(point["x"]), down(point["y"])) for point in data]
    whiskers = [
        Box(x - _WHISKER_PX, down(point["high"]), x + _WHISKER_PX, down(point["low"]))
        for (x, _), point in zip(spots, data, strict=True)
    ]
    labels = place_labels([point["name"] for point in data], spots, whiskers, width, height)
    layers = []
    for point, spot, label in zip(data, spots, labels, strict=True):
        ink = alt.value(ACCENT if point["accent"] else INK)
        base = alt.Chart(inline([{"name": point["name"]}])).encode(color=ink)
        if label.leader:
            ends = {"x": spot[0], "y": spot[1], "x2": label.x, "y2": label.y}
            leader = base.mark_rule(strokeWidth=0.8, opacity=0.6)
            layers.append(leader.encode(**{channel: alt.value(pixel) for channel, pixel in ends.items()}))
        text = base.mark_text(fontWeight=600, align=label.align)
        layers.append(text.encode(text="name:N", x=alt.value(label.x), y=alt.value(label.y)))
    return layers
