"""How often a model is right, how sure that is, and what it changes against the first model."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import Floats, Indicators, from_counts, text_counts, wilson_interval

RESAMPLES = 4000

Interval = tuple[float, float]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A metric as a fraction, with its 95% interval over the ``n`` test texts: see :func:`measure_accuracy`."""

    metric: str
    value: float
    ci95: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Change:
    """What a model's answers change against the first model's, on the same texts.

    ``accuracy_delta`` is this model's metric minus the first's, with a paired bootstrap interval; ``agreement`` the
    share of texts with the same answer; ``mcnemar_p`` the chance of so uneven a split of the texts that only one of
    the two gets right, were they equally good.
    """

    accuracy_delta: float
    ci95: Interval
    agreement: float
    mcnemar_p: float


def measure_accuracy(metric: str, predicted: Indicators, true: Indicators, seed: int) -> Accuracy:
    """The metric of ``predicted`` against ``true`` (both ``[n, labels]``) and its interval.

    Accuracy is a proportion and gets Wilson's score interval (Wilson 1927), which keeps its coverage near 100%, where
    a bootstrap of no mistakes has no width (Brown, Cai and DasGupta 2001). F1 and macro-F1 get the percentile
    bootstrap (Efron 1979), and Wilson's where all resamples agree: mistakes spread evenly over the labels would cost
    F1 what they cost accuracy.
    """
    counts = text_counts(metric, predicted, true)
    n = len(counts)
    whole = counts.sum(axis=0)
    value = float(from_counts(metric, whole, n))
    if metric == "accuracy":
        return Accuracy(metric, value, wilson_interval(value, n), n)
    low, high = _interval(from_counts(metric, _resampled_sums(counts, seed), n, whole))
    return Accuracy(metric, value, (low, high) if low < high else wilson_interval(value, n), n)


def measure_change(metric: str, first: Indicators, other: Indicators, true: Indicators, seed: int) -> Change:
    """What ``other`` changes against ``first``; all three are ``[n, labels]`` with the labels in one order."""
    counts = [text_counts(metric, predicted, true) for predicted in (first, other)]
    n, width = counts[0].shape
    both = np.concatenate(counts, axis=1)

    whole = both.sum(axis=0)

    def metric_of(sums: Floats, half: slice) -> Floats:
        return from_counts(metric, sums[..., half], n, whole[half])

    def delta(sums: Floats) -> Floats:
        return metric_of(sums, slice(width, None)) - metric_of(sums, slice(width))

    first_right, other_right = ((predicted == true).all(axis=1) for predicted in (first, other))
    return Change(
        accuracy_delta=float(delta(whole)),
        ci95=_interval(delta(_resampled_sums(both, seed))),
        agreement=float((first == other).all(axis=1).mean()),
        mcnemar_p=mcnemar_p(first_right, other_right),
    )


def mcnemar_p(first_right: Flags, other_right: Flags) -> float:
    """McNemar's exact test: two-sided binomial over the texts that only one of the two gets right."""
    from scipy.stats import binomtest

    only_first = int((first_right & ~other_right).sum())
    discordant = int((first_right != other_right).sum())
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def _resampled_sums(counts: Floats, seed: int) -> Floats:
    """Column sums ``[RESAMPLES, k]`` of ``n`` rows drawn with replacement from ``counts`` ``[n, k]``.

    Texts with equal rows are interchangeable, so how often each distinct row is drawn is one multinomial draw.
    """
    rows, times = np.unique(counts, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=RESAMPLES)
    return np.asarray(draws @ rows)


def _interval(values: Floats) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
