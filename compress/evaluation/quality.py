"""What one metric hides: macro-F1, the recall of each label, and how far confidences can be trusted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import Floats, Indicators, from_counts, text_counts
from compress.runtime.predictor import Logits
from compress.task import is_multi_label

_BINS = 15

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelRecall:
    """The share of a label's ``n`` test texts that were given it; None where there are none."""

    label: str
    n: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures beside the main metric, all as fractions.

    Attributes:
        macro_f1: the mean of the labels' F1.
        ece: the expected calibration error.
        recall: of each label, in the labels' order.
    """

    macro_f1: float
    ece: float
    recall: tuple[LabelRecall, ...]


def measure_quality(labels: tuple[str, ...], predicted: Indicators, true: Indicators, sureness: Floats) -> Quality:
    """Figures of answers ``[n, labels]`` given with ``sureness`` (:func:`confidence`)."""
    sums = text_counts("macro_f1", predicted, true).sum(axis=0)
    # One answer a text, or in multi-label tasks one a text and label.
    right = (predicted == true).all(axis=1) if sureness.ndim == 1 else predicted == true
    return Quality(
        macro_f1=float(from_counts("macro_f1", sums, len(true))),
        ece=calibration_error(sureness.ravel(), right.ravel()),
        recall=tuple(
            LabelRecall(label, int(is_so.sum()), float(said[is_so].mean()) if is_so.any() else None)
            for label, is_so, said in zip(labels, true.T, predicted.T, strict=True)
        ),
    )


def confidence(task: str, logits: Logits) -> Floats:
    """The probability that a model gives its own answer: ``[n]``, or ``[n, labels]`` in multi-label tasks."""
    from scipy.special import expit, softmax

    exact = logits.astype(np.float64)
    if is_multi_label(task):
        return np.asarray(expit(np.abs(exact)))
    return np.asarray(softmax(exact, axis=1).max(axis=1))


def calibration_error(sureness: Floats, right: Flags) -> float:
    """The expected calibration error over 15 bins of equal width (Naeini et al. 2015; Guo et al. 2017).

    Args:
        sureness: The probability that each answer was given, ``[n]``.
        right: Whether it was right, ``[n]``.
    """
    bins = np.minimum((sureness * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=sureness - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(sureness))
