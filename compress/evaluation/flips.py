"""Count the answers that changed from one model to another, for the better or the worse, by text and by label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.evaluation.metrics import Indicators
from compress.runtime.encoding import Text
from compress.task import is_multi_label

_MOST_TEXTS = 100
_MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Flip:
    """A text to which the two models give different answers; each answer is a set of labels."""

    text: str  # cut where it is long; the two texts of a pair are joined by a bar
    right: tuple[str, ...] | None  # None where the data have no labels
    first: tuple[str, ...]
    now: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """The number of answers that changed, and the first hundred of them, new mistakes first."""

    count: int
    became_wrong: int | None
    became_right: int | None
    texts: tuple[Flip, ...]


@dataclass(frozen=True, slots=True)
class LabelFlips:
    """The flips of one label: texts that have it, or in multi-label tasks the answers to it."""

    label: str
    n: int  # texts that have the label
    became_wrong: int
    became_right: int


def find_flips(
    texts: Sequence[Text], labels: tuple[str, ...], first: Indicators, other: Indicators, true: Indicators | None
) -> Flips:
    """The texts where ``other`` differs from ``first``; all are ``[n, labels]``, ``true`` is None without labels."""

    def named(answer: Indicators) -> tuple[str, ...]:
        return tuple(label for label, applies in zip(labels, answer, strict=True) if applies)

    flipped = np.flatnonzero((first != other).any(axis=1))
    worse = better = None
    if true is not None:
        was_right, is_right = ((answers[flipped] == true[flipped]).all(axis=1) for answers in (first, other))
        worse, better = was_right & ~is_right, is_right & ~was_right
        flipped = flipped[np.argsort(np.where(worse, 0, np.where(better, 1, 2)), kind="stable")]
    return Flips(
        count=len(flipped),
        became_wrong=None if worse is None else int(worse.sum()),
        became_right=None if better is None else int(better.sum()),
        texts=tuple(
            Flip(_shown(texts[row]), None if true is None else named(true[row]), named(first[row]), named(other[row]))
            for row in flipped[:_MOST_TEXTS]
        ),
    )


def flips_by_label(
    task: str, labels: Sequence[str], first: Indicators, other: Indicators, true: Indicators
) -> tuple[LabelFlips, ...]:
    """For each label, how often ``first`` was right and ``other`` is not (negative flips: Yan et al. 2021), and back.

    All are ``[n, labels]``. A text counts under its own label; in multi-label tasks it counts under each label, whether
    it has the label or not.
    """
    was_right, is_right = (answers == true for answers in (first, other))
    if not is_multi_label(task):
        was_right, is_right = ((right.all(axis=1, keepdims=True) & true) for right in (was_right, is_right))
    worse, better = ((one & ~two).sum(axis=0).tolist() for one, two in ((was_right, is_right), (is_right, was_right)))
    texts = true.sum(axis=0).tolist()
    return tuple(LabelFlips(*row) for row in zip(labels, texts, worse, better, strict=True))


def _shown(text: Text) -> str:
    whole = " ".join((text if isinstance(text, str) else " | ".join(text)).split())
    return whole if len(whole) <= _MOST_CHARACTERS else whole[:_MOST_CHARACTERS].rstrip() + "..."
