"""The score below which a small model hands a text on, so that the loss against the large one is bounded.

Learn then Test (Angelopoulos et al. 2021): scores are tested one after the other, from one that hands nearly every text
on, which loses nothing, down to the first that fails. Their order is fixed beforehand, so all tests together are wrong
at most as often as one (fixed sequence testing: Maurer et al. 1995); and so are the scores, so that every text can be
tested on. Nothing is assumed but that the texts are drawn independently from what will be asked.

What is tested is whether the loss, the accuracy of the large model minus that of the cascade, is above the limit. Only
texts count that one of the two gets wrong and the other right: the p-value is the exact one of a difference of paired
shares, ordered by Tango's score (1998), at its highest over the share of such texts, which is not known, within a
region that holds it nearly for sure (Berger and Boos 1994).
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from compress.decisions.abstention import CONFIDENCE
from compress.errors import CompressError
from compress.evaluation.metrics import Floats

# Scores from a millionth below 1 to 0, 64 to each power of ten, since those of a fine-tuned model lie close to 1.
_LEVELS = 1 - np.geomspace(1e-6, 1, 385)
# The probability that the share of texts on which the two differ is outside the region; it is added to each p-value.
_OUTSIDE = 0.001
_SHARES = 32  # values of that share tried in the region
_NEGLIGIBLE = 1e-9  # the probability of more mistakes than are summed over
_BISECTIONS = 30

Counts = npt.NDArray[np.int64]


class NotShownError(CompressError):
    """There are too few texts to show that the loss is within the limit."""


@dataclass(frozen=True, slots=True)
class HandOn:
    """The score below which a text is handed on, and its figures on the texts tested on; shares are fractions."""

    hand_on_below: float
    max_drop: float
    confidence: float
    texts: int
    handed_on: float  # the share that the large model answers
    drop: float  # its accuracy minus that of the cascade
    drop_bound: float  # upper bound of the loss at this confidence, had this score alone been tested


def texts_needed(max_drop: float) -> int:
    """The number of texts that show a loss of at most ``max_drop``, a fraction, where the two models never differ."""
    return math.ceil(math.log(1 - CONFIDENCE - _OUTSIDE) / math.log1p(-max_drop))


def choose_hand_on(
    scores: Floats, small_right: npt.NDArray[np.bool_], large_right: npt.NDArray[np.bool_], max_drop: float
) -> HandOn:
    """The lowest score up to which no test fails, by the small model's ``scores`` of ``[n]`` texts.

    Raises:
        NotShownError: the first test fails already; the message says what can be shown.
    """
    chosen = None
    for level in _LEVELS.tolist():
        kept = scores >= level
        lost, won = int((kept & ~small_right & large_right).sum()), int((kept & small_right & ~large_right).sum())
        if p_value(lost, won, len(scores), max_drop) > 1 - CONFIDENCE:
            break
        chosen = level, kept, lost, won
    if chosen is None:
        raise NotShownError(
            f"cascade.max_drop {100 * max_drop:g} cannot be shown with {100 * CONFIDENCE:g}% confidence on "
            f"{len(scores):,} texts: even where the small model is surest the loss may be "
            f"{100 * drop_bound(lost, won, len(scores)):.2f} points; allow more, or give more validation texts"
        )
    level, kept, lost, won = chosen
    texts, bound = len(scores), drop_bound(lost, won, len(scores))
    handed_on, drop = float((~kept).mean()), (lost - won) / texts
    return HandOn(level, max_drop, CONFIDENCE, texts, handed_on, drop, bound)


def drop_bound(lost: int, won: int, texts: int) -> float:
    """The upper bound of the loss, a fraction: the least loss that a test rules out, found by bisection."""
    low, high = max(0.0, (lost - won) / texts), 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if p_value(lost, won, texts, middle) <= 1 - CONFIDENCE else (middle, high)
    return high


@cache  # many neighbouring scores keep the same texts
def p_value(lost: int, won: int, texts: int, max_drop: float) -> float:
    """The probability of so small a loss on ``texts`` texts if the true loss were ``max_drop``.

    Among the texts that are not handed on, ``lost`` counts those that only the large model gets right, ``won`` those
    that only the small one does.
    """
    from scipy.stats import beta, binom

    differ = lost + won
    most = 1.0 if differ == texts else float(beta.ppf(1 - _OUTSIDE, differ + 1, texts - differ))
    # Shares of texts won, and of texts lost, which are max_drop more; denser where the probability changes most.
    shares_won = max(0.0, (most - max_drop) / 2) * np.linspace(0, 1, _SHARES)[:, None] ** 2
    shares_lost = np.minimum(shares_won + max_drop, 1.0)
    possible = np.arange(int(binom.isf(_NEGLIGIBLE, texts, shares_lost[-1, 0])) + 1)
    needed = _won_needed(possible, texts, max_drop, float(_score(lost, won, texts, max_drop)))
    won_of_rest = np.clip(shares_won / np.maximum(1 - shares_lost, 1e-300), 0, 1)
    at_least = binom.sf(needed - 1, texts - possible, won_of_rest)
    p_values = np.asarray(binom.pmf(possible, texts, shares_lost) * at_least).sum(axis=1)
    return min(1.0, float(p_values.max()) + _NEGLIGIBLE + _OUTSIDE)


def _won_needed(lost: Counts, texts: int, max_drop: float, score: float) -> Counts:
    """How many texts must be won, beside those ``lost``, for a score this low; more than are left: impossible."""
    low, high = np.zeros_like(lost), texts - lost + 1
    while (low < high).any():  # the score falls with each text that is won
        middle = (low + high) // 2
        enough = _score(lost, middle, texts, max_drop) <= score + 1e-9
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return low


def _score(lost: Counts | int, won: Counts | int, texts: int, max_drop: float) -> Floats:
    """Tango's score: how far the loss is above ``max_drop``, in standard errors under a true loss of ``max_drop``."""
    lost, won = np.asarray(lost, dtype=np.float64), np.asarray(won, dtype=np.float64)
    # The likeliest share of texts that are won, given the loss: the root of a quadratic equation.
    half = lost + won - (2 * texts - lost + won) * max_drop
    likeliest = (half + np.sqrt(half**2 + 8 * texts * won * max_drop * (1 - max_drop))) / (4 * texts)
    variance = texts * (2 * np.maximum(likeliest, 0) + max_drop * (1 - max_drop))
    return np.asarray((lost - won - texts * max_drop) / np.sqrt(variance))
