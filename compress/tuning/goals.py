"""What the user asks for, which of two models serves it better, and how near the others came."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from compress.evaluation.comparison import is_within
from compress.formatting import bare_ms, times

_ALIKE = 1.05  # latencies within 5% of each other are taken for equal, and the smaller model is better


@dataclass(frozen=True)
class Figures:
    """What a model costs: points lost against the teacher, milliseconds from a text to its answer, and size."""

    loss: float
    ms: float
    megabytes: float


@dataclass(frozen=True)
class Goals:
    """The most that each may be; None where the user does not mind. ``whole_ms`` is the teacher's own latency."""

    max_drop: float | None
    latency_ms: float | None
    megabytes: float | None
    whole_ms: float

    def met_by(self, found: Figures) -> bool:
        """Whether the model keeps to all of them."""
        return self._excess(found) == 0

    def within_limits(self, found: Figures) -> bool:
        """Whether the model keeps to the limits of latency and size."""
        return Goals(None, self.latency_ms, self.megabytes, self.whole_ms).met_by(found)

    def rank(self, found: Figures) -> tuple[float, ...]:
        """The better model has the smaller rank.

        Of models that meet all goals the fastest is best where the loss is limited, else the one that loses least. Of
        the others it is the one that is nearest to meeting them.
        """
        speed = float(round(math.log(found.ms, _ALIKE)))
        wanted = (speed, found.loss) if self.max_drop is not None else (round(found.loss, 1), speed)
        excess = self._excess(found)
        return (excess, 0.0, found.megabytes, 0.0) if excess else (0.0, wanted[0], found.megabytes, wanted[1])

    def nearest(self, models: Mapping[str, Figures]) -> str:
        """In a line, how near ``models``, by their names, came; none of them meets all goals."""
        return "; ".join(filter(None, (self._within_drop(models), self._within_limits(models))))

    @property
    def to_allow(self) -> str:
        """What to allow more of where no model meets them."""
        limits = {"points": self.max_drop, "milliseconds": self.latency_ms, "megabytes": self.megabytes}
        return " or ".join(f"more {name}" for name, limit in limits.items() if limit is not None)

    def __str__(self) -> str:
        wanted = [
            "" if self.max_drop is None else f"at most {points(self.max_drop)} lost",
            "" if self.latency_ms is None else f"at most {bare_ms(self.latency_ms)} ms a text",
            "" if self.megabytes is None else f"at most {self.megabytes:g} MB",
        ]
        best = "the most accurate model" if self.max_drop is None else "the fastest model"
        return f"{best} with {', '.join(filter(None, wanted))}"

    def _excess(self, found: Figures) -> float:
        """How far the model is above the limits, all together; a point counts as much as a tenth of a limit."""
        over = [
            0.0 if self._keeps_to_drop(found) else (found.loss - (self.max_drop or 0.0)) / 10,
            0.0 if self.latency_ms is None else max(0.0, found.ms / self.latency_ms - 1),
            0.0 if self.megabytes is None else max(0.0, found.megabytes / self.megabytes - 1),
        ]
        return sum(over)

    def _keeps_to_drop(self, found: Figures) -> bool:
        return self.max_drop is None or is_within(found.loss, self.max_drop)

    def _within_drop(self, models: Mapping[str, Figures]) -> str:
        if self.max_drop is None:
            return ""
        within = {name: found for name, found in models.items() if self._keeps_to_drop(found)}
        if not within:
            name, least = min(models.items(), key=lambda one: one[1].loss)
            return f"the least that is lost is {self._shown(name, least)}"
        name, fastest = min(within.items(), key=lambda one: one[1].ms)
        size = f"{fastest.megabytes:.1f} MB"
        return f"the fastest within {points(self.max_drop)} is {name}, {self._speed(fastest)} at {size}"

    def _within_limits(self, models: Mapping[str, Figures]) -> str:
        if self.latency_ms is None and self.megabytes is None:
            return ""
        if limited := {name: found for name, found in models.items() if self.within_limits(found)}:
            name, best = min(limited.items(), key=lambda one: one[1].loss)
            return f"{name}, {self._speed(best)} at {best.megabytes:.1f} MB, costs {_lost(best)}"
        fastest = min(models.items(), key=lambda one: one[1].ms)
        smallest = min(models.items(), key=lambda one: one[1].megabytes)
        extremes = [
            "" if self.latency_ms is None else f"the fastest is {self._shown(*fastest)}",
            "" if self.megabytes is None else f"the smallest is {self._shown(*smallest)}",
        ]
        return "; ".join(filter(None, extremes))

    def _speed(self, found: Figures) -> str:
        return f"{times(self.whole_ms / found.ms)} ({bare_ms(found.ms)} ms)"

    def _shown(self, name: str, found: Figures) -> str:
        return f"{_lost(found)}, by {name}, {self._speed(found)} at {found.megabytes:.1f} MB"


def points(limit: float) -> str:
    """So many points, as the user gave them."""
    return f"{limit:g} point{'s' * (f'{limit:g}' != '1')}"


def _lost(found: Figures) -> str:
    shown = f"{round(found.loss, 2) + 0:.2f}"  # never -0.00; 1.04 where 1 is the limit
    return f"{shown.removesuffix('0')} points"
