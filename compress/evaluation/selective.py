"""How often a classifier is wrong where it answers, if it answers what it is sure of (El-Yaniv and Wiener 2010)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import Floats, Interval, wilson_interval

_POINTS = 50


@dataclass(frozen=True, slots=True)
class Selection:
    """What is answered with a score of at least ``abstain_below``, and how often that is wrong; shares of texts."""

    abstain_below: float
    coverage: float  # of all texts, those that are answered
    coverage_ci95: Interval
    risk: float | None  # of those that are answered, the wrong ones; None where none is answered
    risk_ci95: Interval | None
    answered: int


def measure_selection(confidences: Floats, right: npt.NDArray[np.bool_], abstain_below: float) -> Selection:
    """Of ``[n]`` texts, answered rightly or not with such scores; the intervals are Wilson's."""
    answers = confidences >= abstain_below
    answered, coverage = int(answers.sum()), float(answers.mean())
    risk = float((~right[answers]).mean()) if answered else None
    interval = wilson_interval(risk, answered) if risk is not None else None
    return Selection(abstain_below, coverage, wilson_interval(coverage, len(right)), risk, interval, answered)


def risk_coverage(confidences: Floats, right: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """The curve of Geifman and El-Yaniv (2017): at most 50 pairs of coverage and risk, from the surest texts to all."""
    order = np.argsort(-confidences, kind="stable")
    risks = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    counts = np.unique(np.linspace(1, len(order), _POINTS).round().astype(np.int64))
    return [(count / len(order), float(risks[count - 1])) for count in counts.tolist()]
