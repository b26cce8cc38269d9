"""The balance of labels among the test texts: what a model scores that always gives the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.evaluation.metrics import Indicators, from_counts, positive_column, text_counts

_LOPSIDED = 0.9


@dataclass(frozen=True, slots=True)
class Balance:
    """The most frequent answer among the test texts, and the labels that none of them has."""

    most_frequent: tuple[str, ...]  # one label; in multi-label tasks the set, which may be empty
    share: float  # the share of the test texts that have exactly this answer
    always: float  # the main metric, as a fraction, of a model that always gives this answer
    lopsided: bool  # whether more than 90% of the texts have it
    absent: tuple[str, ...]  # labels that no test text has, so that the figures say nothing of them


def measure_balance(metric: str, labels: Sequence[str], true: Indicators) -> Balance:
    """The balance of the right answers ``true``, bool ``[n, labels]``, under the main ``metric``."""
    answers, counts = np.unique(true, axis=0, return_counts=True)
    answer, share = np.asarray(answers[counts.argmax()]), float(counts.max() / len(true))
    sums = text_counts(metric, np.broadcast_to(answer, true.shape), true, positive=positive_column(labels)).sum(axis=0)
    return Balance(
        most_frequent=tuple(label for label, applies in zip(labels, answer, strict=True) if applies),
        share=share,
        always=float(from_counts(metric, sums, len(true))),
        lopsided=share > _LOPSIDED,
        absent=tuple(label for label, applies in zip(labels, np.asarray(true.any(axis=0)), strict=True) if not applies),
    )
