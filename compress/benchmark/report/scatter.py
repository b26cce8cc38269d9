"""The chart of accuracy against latency, with intervals, the Pareto front, and labels that do not overlap."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compress.benchmark.report.charts import (
    ACCENT,
    INK,
    INK_OR_ACCENT,
    QUIET,
    Spec,
    as_svg,
    inline,
    layer,
    number,
    words,
)
from compress.benchmark.report.speedup import (
    Entry,
    answer_interval_ms,
    answer_ms,
    average_word,
    can_be_stated,
    of_answers,
)

_WHISKER_PX = 3.0
_LEFT_ROOM_PX, _RIGHT_ROOM_PX = 24, 70
_CHARACTER_PX, _LINE_PX, _POINT_PX = 6.6, 14.0, 7.0
_OFFSETS_PX = (-10, 10, -24, 24, -38, 38, -52, 52, -66, 66, -80, 80)


def scatter(entries: Sequence[Entry], chosen: str, width: int, height: int) -> str:
    """Accuracy against average latency, with 95% intervals of both; the Pareto front is of certain speed-ups alone."""
    data = [_point(entry, entry["name"] == chosen) for entry in entries]
    x_domain = _x_domain(data, width)
    lowest, highest = min(point["low"] for point in data), max(point["high"] for point in data)
    margin = max(0.08 * (highest - lowest), 0.5)
    y_domain = [lowest - margin, highest + margin]
    averages = " or ".join(dict.fromkeys(average_word(entry) for entry in entries))
    shared = {"x": _x_channel(x_domain, averages), "y": _y_channel(y_domain), "color": INK_OR_ACCENT}
    front = pareto_front([point for point in data if point["stated"]])
    dashes: Spec = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5, "strokeDash": [4, 3]}
    whisker: Spec = {"type": "rule", "strokeWidth": 1.2, "opacity": 0.55}
    layers = [
        layer(dashes, front, color={"value": QUIET}),
        layer(whisker, y=number("low"), y2={"field": "high"}),
        layer(whisker, x=number("left"), x2={"field": "right"}),
        layer({"type": "circle", "size": 90, "opacity": 1}),
        *_labels(data, x_domain, y_domain, width, height),
    ]
    size = {"width": width, "height": height}
    return as_svg({"data": inline(data), "encoding": shared, "layer": layers, **size})


def pareto_front(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points that no other point beats in both latency ``x`` and accuracy ``y``, fastest first."""
    front: list[Mapping[str, Any]] = []
    for point in sorted(points, key=lambda point: (point["x"], -point["y"])):
        if not front or point["y"] > front[-1]["y"]:
            front.append(point)
    return front


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between ``low`` and ``high``: powers of ten, and 2, 5 or all digits between where few fit."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [round(step * 10.0**power, 9) for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            break
    return inside


def _x_channel(domain: Sequence[float], average: str) -> Spec:
    title = f"{average} latency, ms a text (log scale)"
    axis = {"values": log_ticks(domain[0], domain[1]), "format": "~g", "title": title, "grid": False}
    return number("x", scale={"type": "log", "domain": domain, "nice": False}, axis=axis)


def _y_channel(domain: Sequence[float]) -> Spec:
    axis = {"title": None, "tickCount": 5, "labelExpr": "datum.label + '%'"}
    return number("y", scale={"domain": domain, "nice": False}, axis=axis)


def _point(entry: Entry, accent: bool) -> dict[str, Any]:
    left, right = answer_interval_ms(entry)
    low, high = entry["accuracy"]["ci95"]
    place = {"x": answer_ms(entry), "y": 100 * entry["accuracy"]["value"]}
    interval = {"left": left, "right": right, "low": 100 * low, "high": 100 * high}
    stated = can_be_stated(of_answers(entry["versus_first"]))
    return place | {"name": entry["name"], "accent": accent, "stated": stated} | interval


def _x_domain(data: Sequence[Mapping[str, Any]], width: int) -> list[float]:
    """The latency axis, from the fastest to the slowest point, with room on the right for a label."""
    low, high = (math.log(edge) for edge in (min(at["left"] for at in data), max(at["right"] for at in data)))
    span = max(high - low, math.log(2))
    a_pixel = span / (width - _LEFT_ROOM_PX - _RIGHT_ROOM_PX)
    return [math.exp(low - _LEFT_ROOM_PX * a_pixel), math.exp(low + span + _RIGHT_ROOM_PX * a_pixel)]


def _labels(
    data: Sequence[Mapping[str, Any]], x_domain: Sequence[float], y_domain: Sequence[float], width: int, height: int
) -> list[Spec]:
    """A text layer for each point's label at a place of its own, and a line to each label that lies further off."""

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
        colour = {"value": ACCENT if point["accent"] else INK}
        place = {"x": {"value": label.x}, "y": {"value": label.y}}
        if label.leader:
            ends = {"x2": place["x"], "y2": place["y"], "x": {"value": spot[0]}, "y": {"value": spot[1]}}
            line: Spec = {"type": "rule", "strokeWidth": 0.8, "opacity": 0.6}
            layers.append(layer(line, [{}], color=colour, **ends))
        text: Spec = {"type": "text", "fontWeight": 600, "align": label.align}
        layers.append(layer(text, [{"name": point["name"]}], color=colour, text=words("name"), **place))
    return layers


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """The shared area, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, width: float, height: float) -> float:
        """How far the box reaches out of a chart of this size, in pixels."""
        return sum(max(0.0, over) for over in (-self.left, -self.top, self.right - width, self.bottom - height))


@dataclass(frozen=True, slots=True)
class Label:
    """Where a label begins (align ``left``) or ends (``right``), and whether a line from its point leads there."""

    x: float
    y: float
    align: Literal["left", "right"]
    leader: bool


def place_labels(
    names: Sequence[str], points: Sequence[tuple[float, float]], obstacles: Sequence[Box], width: float, height: float
) -> list[Label]:
    """A place for each name: of the places around its point, the one with the least in its way."""
    taken = [*obstacles, *(Box(x - _POINT_PX, y - _POINT_PX, x + _POINT_PX, y + _POINT_PX) for x, y in points)]
    labels = []
    for name, point in zip(names, points, strict=True):
        boxes = {label: box_of(label, name) for label in _around(point)}
        in_the_way = {
            label: sum(box.overlap(other) for other in taken) + 1000 * box.outside(width, height)
            for label, box in boxes.items()
        }
        label = min(in_the_way, key=in_the_way.__getitem__)
        taken.append(boxes[label])
        labels.append(label)
    return labels


def box_of(label: Label, name: str) -> Box:
    """The largest box that ``name`` may take up at ``label``."""
    width = len(name) * _CHARACTER_PX
    left = label.x if label.align == "left" else label.x - width
    return Box(left, label.y - _LINE_PX / 2, left + width, label.y + _LINE_PX / 2)


def _around(point: tuple[float, float]) -> Iterator[Label]:
    """Places for a label in order of preference: right and left of the point, close by and further off."""
    x, y = point
    for down in _OFFSETS_PX:
        far = abs(down) > _LINE_PX
        yield Label(x + _POINT_PX + 1, y + down, "left", far)
        yield Label(x - _POINT_PX - 1, y + down, "right", far)
