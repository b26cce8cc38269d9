"""Choose the thresholds of a multi-label task from validation texts: for each label, the score from which it applies.

A threshold lies halfway between two scores of these texts, so that a rounding error moves no answer across it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import Floats
from compress.manifest_entries import NEVER
from compress.runtime.decision import HALF
from compress.runtime.predictor import Logits


@dataclass(frozen=True, slots=True)
class LabelThreshold:
    """The threshold of a label, and its figures on the texts that it was chosen on."""

    label: str
    threshold: float
    n: int  # texts that have the label
    given: int  # texts that are given the label
    precision: float | None  # None where no text is given the label
    recall: float | None
    f1: float
    best_precision: float | None = None  # the highest possible, where no threshold keeps the precision asked for


def choose_thresholds(
    labels: Sequence[str], scores: Logits, true: npt.NDArray[np.bool_], min_precision: float | None
) -> list[LabelThreshold]:
    """The threshold of each label with the best F1, or the lowest one that keeps ``min_precision``, a fraction.

    ``scores`` and ``true`` are ``[n, labels]``. A label that no text has keeps 0.5; one that never reaches the
    precision is never given.
    """
    columns = zip(labels, scores.T.astype(np.float64), true.T, strict=True)
    return [_choose(label, column, has_it, min_precision) for label, column, has_it in columns]


def _choose(label: str, scores: Floats, has_it: npt.NDArray[np.bool_], min_precision: float | None) -> LabelThreshold:
    if not has_it.any():
        return _with_figures(label, HALF, scores, has_it)
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    hits, given = np.cumsum(has_it[order]), np.arange(1, len(order) + 1)
    # A cut is possible after each text that the next one lies below.
    cuts = np.append(falling[:-1] > falling[1:], True)
    halfway = (falling + np.append(falling[1:], 0.0)) / 2
    if min_precision is None:
        f1 = np.where(cuts, 2 * hits / (given + has_it.sum()), -1.0)
        return _with_figures(label, float(halfway[f1.argmax()]), scores, has_it)
    precision = np.where(cuts, hits / given, -1.0)
    kept = np.flatnonzero(precision >= min_precision - 1e-12)
    if len(kept):
        return _with_figures(label, float(halfway[kept[-1]]), scores, has_it)
    return _with_figures(label, NEVER, scores, has_it, float(precision.max()))


def _with_figures(
    label: str, threshold: float, scores: Floats, has_it: npt.NDArray[np.bool_], best_precision: float | None = None
) -> LabelThreshold:
    said = scores >= threshold
    hits, given, texts = int((said & has_it).sum()), int(said.sum()), int(has_it.sum())
    f1 = 2 * hits / (given + texts) if given + texts else 0.0
    precision, recall = (hits / total if total else None for total in (given, texts))
    return LabelThreshold(label, threshold, texts, given, precision, recall, f1, best_precision)
