"""Where a chart's labels go so that none lies on another, on a point or outside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

_CHARACTER_PX = 6.6
_LINE_PX = 14.0
_POINT_PX = 7.0
_OFFSETS_PX = (-10, 10, -24, 24, -38, 38, -52, 52, -66, 66, -80, 80)


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
        """How far it reaches out of a chart, in pixels."""
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
    """A place for each name: of those around its point, the one with the least in its way."""
    taken = [*obstacles, *(Box(x - _POINT_PX, y - _POINT_PX, x + _POINT_PX, y + _POINT_PX) for x, y in points)]
    labels = []
    for name, point in zip(names, points, strict=True):
        boxes = {label: box_of(label, name) for label in _around(point)}
        label = min(boxes, key=lambda label: _cost(boxes[label], taken, width, height))
        taken.append(boxes[label])
        labels.append(label)
    return labels


def box_of(label: Label, name: str) -> Box:
    """The room that ``name`` takes at most at ``label``."""
    width = len(name) * _CHARACTER_PX
    left = label.x if label.align == "left" else label.x - width
    return Box(left, label.y - _LINE_PX / 2, left + width, label.y + _LINE_PX / 2)


def _around(point: tuple[float, float]) -> Iterator[Label]:
    """Places, the best liked first: right and left of the point, close by and further off."""
    x, y = point
    for down in _OFFSETS_PX:
        far = abs(down) > _LINE_PX
        yield Label(x + _POINT_PX + 1, y + down, "left", far)
        yield Label(x - _POINT_PX - 1, y + down, "right", far)


def _cost(box: Box, taken: Sequence[Box], width: float, height: float) -> float:
    return sum(box.overlap(other) for other in taken) + 1000 * box.outside(width, height)
