"""The goals of a search: which models meet them, which of two is better, and how near the others came."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from compress.evaluation.comparison import is_within
from compress.formatting import bare_ms, times

_ALIKE = 1.05  # latencies within 5% of each other are taken for equal, and the smaller model is better


@dataclass(frozen=True)
class Figures:
    """What a model costs: points lost against the teacher, milliseconds from a text to its answer, megabytes."""

    loss: float
    ms: float
    megabytes: float


@dataclass(frozen=True)
class Goals:
    """The limits of each figure; None where there is none. ``teacher_ms`` is the latency of the teacher itself."""

    max_drop: float | None
    latency_ms: float | None
    megabytes: float | None
    teacher_ms: float

    def met_by(self, figures: Figures) -> bool:
        """Whether a model keeps to all limits."""
        return self._excess(figures) == 0

    def within_limits(self, figures: Figures) -> bool:
        """Whether a model keeps to the limits of latency and size."""
        return Goals(None, self.latency_ms, self.megabytes, self.teacher_ms).met_by(figures)

    def rank(self, figures: Figures) -> tuple[float, ...]:
        """A sort key: the better model has the smaller rank.

        Among models that meet all goals the fastest is best where the loss is limited, else the one that loses least;
        among the others, the one that is nearest to meeting them.
        """
        speed = float(round(math.log(figures.ms, _ALIKE)))
        wanted = (speed, figures.loss) if self.max_drop is not None else (round(figures.loss, 1), speed)
        excess = self._excess(figures)
        return (excess, 0.0, figures.megabytes, 0.0) if excess else (0.0, wanted[0], figures.megabytes, wanted[1])

    def nearest(self, models: Mapping[str, Figures]) -> str:
        """One line on how near ``models``, by their names, came to the goals, where none meets them all."""
        return "; ".join(filter(None, (self._within_drop(models), self._within_limits(models))))

    @property
    def to_allow(self) -> str:
        """What to allow more of, where no model meets the goals."""
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

    def _excess(self, figures: Figures) -> float:
        """How far the model is above the limits, all together; a point counts as much as a tenth of a limit."""
        over = [
            0.0 if self._keeps_to_drop(figures) else (figures.loss - (self.max_drop or 0.0)) / 10,
            0.0 if self.latency_ms is None else max(0.0, figures.ms / self.latency_ms - 1),
            0.0 if self.megabytes is None else max(0.0, figures.megabytes / self.megabytes - 1),
        ]
        return sum(over)

    def _keeps_to_drop(self, figures: Figures) -> bool:
        return self.max_drop is None or is_within(figures.loss, self.max_drop)

    def _within_drop(self, models: Mapping[str, Figures]) -> str:
        if self.max_drop is None:
            return ""
        within = {name: each for name, each in models.items() if self._keeps_to_drop(each)}
        if not within:
            name, least = min(models.items(), key=lambda item: item[1].loss)
            return f"the least that is lost is {self._shown(name, least)}"
        name, fastest = min(within.items(), key=lambda item: item[1].ms)
        size = f"{fastest.megabytes:.1f} MB"
        return f"the fastest within {points(self.max_drop)} is {name}, {self._speed(fastest)} at {size}"

    def _within_limits(self, models: Mapping[str, Figures]) -> str:
        if self.latency_ms is None and self.megabytes is None:
            return ""
        if limited := {name: each for name, each in models.items() if self.within_limits(each)}:
            name, best = min(limited.items(), key=lambda item: item[1].loss)
            return f"{name}, {self._speed(best)} at {best.megabytes:.1f} MB, costs {_lost(best)}"
        fastest = min(models.items(), key=lambda item: item[1].ms)
        smallest = min(models.items(), key=lambda item: item[1].megabytes)
        extremes = [
            "" if self.latency_ms is None else f"the fastest is {self._shown(*fastest)}",
            "" if self.megabytes is None else f"the smallest is {self._shown(*smallest)}",
        ]
        return "; ".join(filter(None, extremes))

    def _speed(self, figures: Figures) -> str:
        return f"{times(self.teacher_ms / figures.ms)} ({bare_ms(figures.ms)} ms)"

    def _shown(self, name: str, figures: Figures) -> str:
        return f"{_lost(figures)}, by {name}, {self._speed(figures)} at {figures.megabytes:.1f} MB"


def points(limit: float) -> str:
    """A limit in points, in words, as the user gave it."""
    return f"{limit:g} point{'s' * (f'{limit:g}' != '1')}"


def _lost(figures: Figures) -> str:
    shown = f"{round(figures.loss, 2) + 0:.2f}"  # never -0.00; 1.04 where 1 is the limit
    return f"{shown.removesuffix('0')} points"
