"""The score below which a classifier abstains, so that the error of what it answers is bounded, with 95% confidence.

Learn then Test (Angelopoulos et al. 2021), with the selective risk of Geifman and El-Yaniv (2017): candidate scores
are tested one after the other, from a safe one down, until the first one that fails. Of texts that are answered at a
fixed score, each is wrong with the same chance, the risk, so the p-value of "the risk is above the limit" is an exact
binomial tail. Because the order is fixed beforehand, all tests together are wrong at most as often as one (fixed
sequence testing: Maurer et al. 1995). The candidates, their order and the first of them come from texts of their own,
which are not tested on: so nothing is assumed but that texts are drawn independently from what will be asked.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.evaluation.metrics import Floats

CONFIDENCE = 0.95
_CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class Abstention:
    """The score below which a classifier abstains, and its figures on the texts tested on; shares are fractions."""

    abstain_below: float
    max_error: float
    confidence: float
    texts: int  # number of texts tested on
    coverage: float  # the share of them that is answered
    error: float  # the share of the answers that is wrong
    error_bound: float  # upper bound of the risk at this confidence, had this score alone been tested


def texts_needed(max_error: float) -> int:
    """The number of right answers without a mistake that shows an error of at most ``max_error``."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-max_error))


def candidates(confidences: Floats, right: npt.NDArray[np.bool_], max_error: float, tested: int) -> Floats:
    """Scores to test on ``tested`` other texts, chosen by ``[n]`` texts: falling, the first the surest to pass."""
    levels = np.unique(np.quantile(confidences, np.linspace(0, 1, _CANDIDATES + 1)[:-1]))[::-1]
    levels[-1] = 0.0  # the last score answers everything, also below all scores of these texts
    answered, wrong = _counts(levels, confidences, right)
    # Counts are scaled to the texts to test on, with half a mistake more, since on few texts there may be none.
    share = tested / len(right)
    log_p_values = _log_p_values((wrong + 0.5) * share, answered * share, max_error)
    return np.asarray(levels[int(log_p_values.argmin()) :])


def choose_abstention(
    levels: Floats, confidences: Floats, right: npt.NDArray[np.bool_], max_error: float
) -> Abstention:
    """The lowest of the falling ``levels`` up to which no test on ``[n]`` texts fails.

    Raises:
        CompressError: the first test fails already; the message says what can be shown.
    """
    answered, wrong = _counts(levels, confidences, right)
    passed = _log_p_values(wrong, answered, max_error) <= math.log(1 - CONFIDENCE)
    if not passed[0]:
        raise CompressError(
            f"calibrate.max_error {100 * max_error:g} cannot be shown with {100 * CONFIDENCE:g}% confidence on "
            f"{len(right):,} texts: even of the surest {100 * answered[0] / len(right):.0f}% up to "
            f"{100 * _upper_bounds(wrong, answered)[0]:.2f}% may be wrong; allow more, or give more validation texts"
        )
    at = int(np.logical_and.accumulate(passed).sum()) - 1
    coverage, error = answered[at] / len(right), wrong[at] / answered[at]
    bound = _upper_bounds(wrong[at], answered[at])
    return Abstention(float(levels[at]), max_error, CONFIDENCE, len(right), float(coverage), float(error), float(bound))


def _counts(levels: Floats, confidences: Floats, right: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The numbers of answers and of wrong answers at each level, among ``[n]`` texts."""
    order = np.argsort(confidences, kind="stable")
    below = np.searchsorted(confidences[order], levels, side="left")
    wrong_from = np.append(np.cumsum(~right[order][::-1])[::-1], 0)
    return (len(right) - below).astype(np.float64), wrong_from[below].astype(np.float64)


def _log_p_values(wrong: Floats, answered: Floats, max_error: float) -> Floats:
    """Log-probabilities of at most ``wrong`` mistakes if the risk were ``max_error``; counts are rounded down."""
    from scipy.stats import binom

    return np.asarray(binom.logcdf(np.floor(wrong), np.floor(answered), max_error))


def _upper_bounds(wrong: Floats, answered: Floats) -> Floats:
    """Exact one-sided upper bounds of the risk (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    all_wrong = wrong >= answered
    return np.where(all_wrong, 1.0, beta.ppf(CONFIDENCE, wrong + 1, np.where(all_wrong, 1, answered - wrong)))
