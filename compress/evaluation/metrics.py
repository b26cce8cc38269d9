"""Measure one model: from logits to a metric, its 95% interval, and figures that one metric hides.

Predictions and truth are bool matrices ``[n, labels]`` in every task: a row has one True where one label is right, and
any number where several may be.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.runtime.decision import HALF, probabilities
from compress.runtime.predictor import Logits
from compress.task import METRICS, is_multi_label

Indicators = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 4000
DEVIATIONS_95 = 1.959964  # standard deviations around the mean that hold 95% of a normal distribution
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
    """The recall of a label on its ``n`` test texts; None where it has none."""

    label: str
    n: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures beside the main metric, all as fractions; recalls are in the order of the labels."""

    macro_f1: float
    ece: float  # the expected calibration error
    recall: tuple[LabelRecall, ...]


def training_metric(history: Sequence[Mapping[str, Any]]) -> str | None:
    """The metric reported by the last training in a model's ``history``, or None."""
    names = (metric for entry in reversed(history) for metric in METRICS if f"validation_{metric}" in entry["metrics"])
    return next(names, None)


def choose_metric(wanted: str | None, task: str, labels: int) -> str:
    """``wanted``, or the task's default: accuracy, or macro-F1 where several labels may be right.

    F1 is refused in tasks that are not a choice between two labels.
    """
    if wanted == "f1" and (is_multi_label(task) or labels != 2):
        several = " of which several may be right" if is_multi_label(task) else ""
        raise CompressError(
            f"metric f1 is for tasks of two labels, this one has {labels}{several}; use accuracy or macro_f1"
        )
    return wanted or ("macro_f1" if is_multi_label(task) else "accuracy")


def reported_metric(history: Sequence[Mapping[str, Any]], task: str, labels: int) -> str:
    """The metric that a model's training reported, see :func:`training_metric`, or else the task's default."""
    with suppress(CompressError):
        return choose_metric(training_metric(history), task, labels)
    return choose_metric(None, task, labels)


def positive_column(labels: Sequence[str]) -> int:
    """The column of the label for which F1 is measured: of two, the second in sorted order, GLUE's "1"."""
    return labels.index(max(labels))


def predictions(task: str, logits: npt.NDArray[np.floating], thresholds: Sequence[float] | None = None) -> Indicators:
    """The predicted labels, ``[n, labels]``: the largest logit, or in multi-label tasks each score from 0.5 on.

    ``thresholds`` of a multi-label task are by label, instead of 0.5. Scores are computed as the runtime computes them.
    """
    if is_multi_label(task):
        scores = probabilities(logits.astype(np.float32, copy=False), multi_label=True)
        return np.asarray(scores.astype(np.float64) >= (HALF if thresholds is None else np.asarray(thresholds)))
    return np.asarray(np.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None])


def truth(targets: npt.NDArray[np.generic], labels: int) -> Indicators:
    """Targets as ``Split.targets`` gives them (class numbers ``[n]`` or indicators ``[n, labels]``) as indicators."""
    if targets.ndim == 2:
        return targets.astype(np.bool_)
    return np.asarray(np.arange(labels) == targets[:, None])


def score(
    metric: str, logits: npt.NDArray[np.floating], targets: npt.NDArray[np.generic], *, positive: int = 1
) -> float:
    """``metric`` of ``logits`` ``[n, labels]`` as a fraction; in multi-label tasks accuracy counts whole label sets.

    ``targets`` are int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks: the shape tells which task it is.
    ``positive`` is the column of the label for F1, see :func:`positive_column`.
    """
    task = "multi_label" if targets.ndim == 2 else "single_label"
    choose_metric(metric, task, logits.shape[1])
    counts = text_counts(metric, predictions(task, logits), truth(targets, logits.shape[1]), positive=positive)
    return float(from_counts(metric, counts.sum(axis=0), len(counts)))


def text_counts(metric: str, predicted: Indicators, true: Indicators, *, positive: int = 1) -> Floats:
    """What each text adds to the sums that make up ``metric``, ``[n, k]``; resampling texts is resampling rows.

    F1 (van Rijsbergen 1979) is measured on the column ``positive`` alone, macro-F1 is the mean over all columns.
    """
    if metric == "accuracy":
        return np.asarray((predicted == true).all(axis=1, keepdims=True), dtype=np.float64)
    if metric == "f1":
        predicted, true = predicted[:, [positive]], true[:, [positive]]
    if metric in ("macro_f1", "f1"):
        hits, alarms, misses = predicted & true, predicted & ~true, ~predicted & true
        return np.concatenate([hits, alarms, misses], axis=1).astype(np.float64)
    raise CompressError(f"metric {metric!r} does not exist; there are {', '.join(METRICS)}")


def from_counts(metric: str, sums: Floats, texts: int, drawn_from: Floats | None = None) -> Floats:
    """The metric from :func:`text_counts` that were summed over ``texts`` texts, ``[..., k]`` to ``[...]``.

    A label that is never true and never predicted has F1 0. Where ``sums`` are those of resamples, ``drawn_from`` are
    the sums ``[k]`` of the whole sample: a resample without any text of a label has no F1 for it, and the mean is over
    the other labels. With 0 in its place, intervals of many rare labels would lie below the value itself.
    """
    if metric == "accuracy":
        return np.asarray(sums[..., 0] / texts)
    hits, alarms, misses = np.split(sums, 3, axis=-1)
    whole = 2 * hits + alarms + misses
    f1 = 2 * hits / np.where(whole == 0, 1, whole)
    if drawn_from is None:
        return np.asarray(f1.mean(axis=-1))
    there, _, missed = np.split(drawn_from, 3)
    counted = (hits + misses > 0) | (there + missed == 0)
    return np.asarray((f1 * counted).sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1))


def wilson_interval(share: float, texts: int) -> Interval:
    """The 95% interval of a share that was counted on this many texts (Wilson 1927)."""
    z = DEVIATIONS_95
    middle, spread = share + z * z / (2 * texts), z * np.sqrt(share * (1 - share) / texts + (z / (2 * texts)) ** 2)
    whole = 1 + z * z / texts
    return max(0.0, float((middle - spread) / whole)), min(1.0, float((middle + spread) / whole))


def resampled_sums(counts: Floats, seed: int) -> Floats:
    """Column sums ``[RESAMPLES, k]`` of ``n`` rows drawn with replacement from ``counts`` ``[n, k]``.

    Texts with equal rows are interchangeable, so how often each distinct row is drawn is one multinomial draw.
    """
    rows, times = np.unique(counts, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=RESAMPLES)
    return np.asarray(draws @ rows)


def percentile_interval(values: Floats) -> Interval:
    """The middle 95% of resampled ``values``, ``[resamples]`` (Efron 1979)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def measure_accuracy(metric: str, predicted: Indicators, true: Indicators, seed: int, *, positive: int = 1) -> Accuracy:
    """The metric of ``predicted`` against ``true`` (both ``[n, labels]``) and its interval.

    Accuracy is a proportion and gets Wilson's score interval (Wilson 1927), which keeps its coverage near 100%, where
    a bootstrap of no mistakes has no width (Brown, Cai and DasGupta 2001). F1 and macro-F1 get the percentile
    bootstrap (Efron 1979), and Wilson's where all resamples agree: mistakes spread evenly over the labels would cost
    F1 what they cost accuracy. ``positive`` is the column of the label for F1.
    """
    counts = text_counts(metric, predicted, true, positive=positive)
    n = len(counts)
    whole = counts.sum(axis=0)
    value = float(from_counts(metric, whole, n))
    if metric == "accuracy":
        return Accuracy(metric, value, wilson_interval(value, n), n)
    low, high = percentile_interval(from_counts(metric, resampled_sums(counts, seed), n, whole))
    return Accuracy(metric, value, (low, high) if low < high else wilson_interval(value, n), n)


def measure_quality(labels: tuple[str, ...], predicted: Indicators, true: Indicators, confidences: Floats) -> Quality:
    """Figures of ``predicted``, ``[n, labels]``, with its ``confidences`` from :func:`confidence`."""
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


def confidence(task: str, logits: Logits, thresholds: Sequence[float] | None = None) -> Floats:
    """The probability that a model gives its own answer: ``[n]``, or ``[n, labels]`` in multi-label tasks."""
    from scipy.special import expit, softmax

    exact = logits.astype(np.float64)
    if is_multi_label(task):
        return np.asarray(expit(np.where(predictions(task, exact, thresholds), exact, -exact)))
    return np.asarray(softmax(exact, axis=1).max(axis=1))


def calibration_error(confidences: Floats, right: npt.NDArray[np.bool_]) -> float:
    """The expected calibration error of ``[n]`` probabilities, in 15 bins (Naeini et al. 2015; Guo et al. 2017)."""
    bins = np.minimum((confidences * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=confidences - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidences))
