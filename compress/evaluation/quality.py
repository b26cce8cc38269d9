"""How good one model is: the main metric with its interval, and figures that one metric hides."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import (
    Floats,
    Indicators,
    Interval,
    from_counts,
    percentile_interval,
    resampled_sums,
    text_counts,
    wilson_interval,
)
from compress.runtime.predictor import Logits
from compress.task import is_multi_label

_BINS = 15


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A metric as a fraction, with its 95% interval over the ``n`` test texts: see :func:`measure_accuracy`."""

    metric: str
    value: float
    ci95: Interval
    n: int


@dataclass(frozen=True, slots=True)
class LabelRecall:
    """The share of a label's ``n`` test texts that were given it; None where there are none."""

    label: str
    n: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures beside the main metric, all as fractions; recall in the labels' order."""

    macro_f1: float
    ece: float  # the expected calibration error
    recall: tuple[LabelRecall, ...]


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
    low, high = percentile_interval(from_counts(metric, resampled_sums(counts, seed), n, whole))
    return Accuracy(metric, value, (low, high) if low < high else wilson_interval(value, n), n)


def measure_quality(labels: tuple[str, ...], predicted: Indicators, true: Indicators, confidences: Floats) -> Quality:
    """Figures of answers ``[n, labels]`` given with ``confidences`` (:func:`confidence`)."""
    sums = text_counts("macro_f1", predicted, true).sum(axis=0)
    # One answer a text, or in multi-label tasks one a text and label.
    right = (predicted == true).all(axis=1) if confidences.ndim == 1 else predicted == true
    return Quality(
        macro_f1=float(from_counts("macro_f1", sums, len(true))),
        ece=calibration_error(confidences.ravel(), right.ravel()),
        recall=tuple(
            LabelRecall(label, int(has_it.sum()), float(given[has_it].mean()) if has_it.any() else None)
            for label, has_it, given in zip(labels, true.T, predicted.T, strict=True)
        ),
    )


def confidence(task: str, logits: Logits) -> Floats:
    """The probability that a model gives its own answer: ``[n]``, or ``[n, labels]`` in multi-label tasks."""
    from scipy.special import expit, softmax

    exact = logits.astype(np.float64)
    if is_multi_label(task):
        return np.asarray(expit(np.abs(exact)))
    return np.asarray(softmax(exact, axis=1).max(axis=1))


def calibration_error(confidences: Floats, right: npt.NDArray[np.bool_]) -> float:
    """The error of ``[n]`` probabilities over 15 bins of equal width (Naeini et al. 2015; Guo et al. 2017)."""
    bins = np.minimum((confidences * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=confidences - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidences))
