"""From logits to one number, the same way in training and in measuring.

Predictions and truth are bool matrices ``[n, labels]`` here, whatever the task: one True a row where one label is
right, any number where several may be.
"""

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.task import is_multi_label

Indicators = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

METRICS = ("accuracy", "macro_f1")


def default_metric(task: str) -> str:
    """What a task is judged by: accuracy where one label is right, macro-F1 where several may be."""
    return "macro_f1" if is_multi_label(task) else "accuracy"


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


def score(metric: str, logits: npt.NDArray[np.floating], targets: npt.NDArray[np.generic]) -> float:
    """``metric`` of ``logits`` ``[n, labels]`` as a fraction.

    Args:
        metric: ``accuracy`` (of the whole label set in multi-label tasks) or ``macro_f1``.
        logits: Float ``[n, labels]``.
        targets: int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks, which is how the two are told apart.

    Raises:
        CompressError: For a metric that does not exist.
    """
    task = "multi_label" if targets.ndim == 2 else "single_label"
    counts = text_counts(metric, predictions(task, logits), truth(targets, logits.shape[1]))
    return float(from_counts(metric, counts.sum(axis=0), len(counts)))


def text_counts(metric: str, predicted: Indicators, true: Indicators) -> Floats:
    """What each text adds to the sums that ``metric`` is made of, ``[n, k]``; resampling texts is resampling rows."""
    if metric == "accuracy":
        return np.asarray((predicted == true).all(axis=1, keepdims=True), dtype=np.float64)
    if metric == "macro_f1":
        hits, alarms, misses = predicted & true, predicted & ~true, ~predicted & true
        return np.concatenate([hits, alarms, misses], axis=1).astype(np.float64)
    raise CompressError(f"metric {metric!r} does not exist; there are {', '.join(METRICS)}")


def from_counts(metric: str, sums: Floats, texts: int) -> Floats:
    """The metric from summed :func:`text_counts`, ``[..., k]`` to ``[...]``; a label never seen nor said has F1 0."""
    if metric == "accuracy":
        return np.asarray(sums[..., 0] / texts)
    hits, alarms, misses = np.split(sums, 3, axis=-1)
    whole = 2 * hits + alarms + misses
    return np.asarray((2 * hits / np.where(whole == 0, 1, whole)).mean(axis=-1))
