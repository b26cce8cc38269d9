"""Selective classification: coverage and risk of a classifier that abstains (El-Yaniv and Wiener 2010)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import Floats, Interval, wilson_interval

_POINTS = 50


@dataclass(frozen=True, slots=True)
class Selection:
    """Coverage and risk where texts with a score below ``abstain_below`` are not answered; both are fractions."""

    abstain_below: float
    coverage: float  # the share of all texts that is answered
    coverage_ci95: Interval
    risk: float | None  # the share of the answers that is wrong; None where no text is answered
    risk_ci95: Interval | None
    answered: int


def measure_selection(confidences: Floats, right: npt.NDArray[np.bool_], abstain_below: float) -> Selection:
    """Coverage and risk on ``[n]`` texts, from the score of each and whether it is ``right``; Wilson's intervals."""
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
