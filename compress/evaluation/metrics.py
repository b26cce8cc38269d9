"""From logits to one number and its 95% interval, the same way in training and in measuring.

Predictions and truth are bool matrices ``[n, labels]`` here, in every task: one True a row where one label is right,
any number where several may be.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.task import is_multi_label

Indicators = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

Interval = tuple[float, float]

RESAMPLES = 4000
METRICS = ("accuracy", "macro_f1", "f1")


def default_metric(task: str) -> str:
    """The metric of a task where no other is requested: accuracy, or macro-F1 where several labels may be right."""
    return "macro_f1" if is_multi_label(task) else "accuracy"


def training_metric(history: Sequence[Mapping[str, Any]]) -> str | None:
    """The metric that chose a model's checkpoint: that of the last training step in its ``history``, or None."""
    found = (metric for entry in reversed(history) for metric in METRICS if f"validation_{metric}" in entry["metrics"])
    return next(found, None)


def choose_metric(wanted: str | None, task: str, labels: int) -> str:
    """``wanted``, or the task's default; f1 is refused where there are not two labels to choose from."""
    if wanted == "f1" and (is_multi_label(task) or labels != 2):
        several = " of which several may be right" if is_multi_label(task) else ""
        raise CompressError(
            f"metric f1 is for tasks of two labels, this one has {labels}{several}; use accuracy or macro_f1"
        )
    return wanted or default_metric(task)


def positive_column(labels: Sequence[str]) -> int:
    """Which of two labels f1 is of: the second in sorted order, GLUE's "1"."""
    return labels.index(max(labels))


def predictions(task: str, logits: npt.NDArray[np.floating]) -> Indicators:
    """The predicted labels, ``[n, labels]``: the largest logit, or in multi-label tasks each sigmoid above 0.5."""
    if is_multi_label(task):
        return np.asarray(logits > 0)
    return np.asarray(np.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None])


def truth(targets: npt.NDArray[np.generic], labels: int) -> Indicators:
    """Targets as ``Split.targets`` gives them (class numbers ``[n]`` or indicators ``[n, labels]``) as indicators."""
    if targets.ndim == 2:
        return targets.astype(np.bool_)
    return np.asarray(np.arange(labels) == targets[:, None])


def score(
    metric: str, logits: npt.NDArray[np.floating], targets: npt.NDArray[np.generic], *, positive: int = 1
) -> float:
    """``metric`` of ``logits`` ``[n, labels]`` as a fraction; accuracy is of the whole label set in multi-label tasks.

    ``targets`` are int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks: the shape tells which task it is.
    ``positive`` is the column that f1 is of, :func:`positive_column` of the labels.
    """
    task = "multi_label" if targets.ndim == 2 else "single_label"
    choose_metric(metric, task, logits.shape[1])
    counts = text_counts(metric, predictions(task, logits), truth(targets, logits.shape[1]), positive=positive)
    return float(from_counts(metric, counts.sum(axis=0), len(counts)))


def text_counts(metric: str, predicted: Indicators, true: Indicators, *, positive: int = 1) -> Floats:
    """What each text adds to the sums that ``metric`` is made of, ``[n, k]``; resampling texts is resampling rows.

    F1 (van Rijsbergen 1979) is of the column ``positive`` alone, macro-F1 the mean over all.
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

    A label that is never true and never predicted has F1 0. Where ``sums`` are of resamples, ``drawn_from`` are those
    ``[k]`` over the whole sample: a resample without any text of a label has no F1 for it, and the mean is over the
    other labels. With 0 in its place, intervals of many rare labels would lie below the value itself.
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
    z = 1.959964
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
    """The middle 95% of resampled ``values`` ``[RESAMPLES]`` (Efron 1979)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
