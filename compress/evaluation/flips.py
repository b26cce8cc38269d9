"""The texts to which two models give different answers: counted by label, and shown one by one."""

from collections import Counter
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
    """One text with another answer.

    Attributes:
        text: the text, or the two of a pair with a bar between them; cut where it is long.
        right: its true labels; None where the data have no labels.
        first: the first model's answer.
        now: this model's answer.
    """

    text: str
    right: tuple[str, ...] | None
    first: tuple[str, ...]
    now: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """How many answers changed, and the first hundred of them: new mistakes come first."""

    count: int
    became_wrong: int | None
    became_right: int | None
    texts: tuple[Flip, ...]


def count_flips(task: str, labels: Sequence[str], before: Indicators, after: Indicators) -> dict[str, int]:
    """How often each label gave way to each other, the most frequent first.

    Keys are ``"from -> to"``, or in multi-label tasks ``"label -> not label"`` and ``"not label -> label"``.
    """
    if is_multi_label(task):
        lost, won = (before & ~after).sum(axis=0).tolist(), (~before & after).sum(axis=0).tolist()
        counts = {f"{label} -> not {label}": count for label, count in zip(labels, lost, strict=True)}
        counts |= {f"not {label} -> {label}": count for label, count in zip(labels, won, strict=True)}
        return dict((+Counter(counts)).most_common())
    rows = np.flatnonzero((before != after).any(axis=1))
    pairs = zip(before[rows].argmax(axis=1).tolist(), after[rows].argmax(axis=1).tolist(), strict=True)
    return dict(Counter(f"{labels[one]} -> {labels[other]}" for one, other in pairs).most_common())


def find_flips(
    texts: Sequence[Text], labels: tuple[str, ...], first: Indicators, other: Indicators, true: Indicators | None
) -> Flips:
    """The texts where ``other`` differs from ``first``; all are ``[n, labels]``, ``true`` is None without labels."""
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
            Flip(
                _shown(texts[row]),
                None if true is None else _named(labels, true, row),
                _named(labels, first, row),
                _named(labels, other, row),
            )
            for row in flipped[:_MOST_TEXTS]
        ),
    )


def _named(labels: tuple[str, ...], answers: Indicators, row: int) -> tuple[str, ...]:
    return tuple(label for label, applies in zip(labels, answers[row], strict=True) if applies)


def _shown(text: Text) -> str:
    whole = " ".join((text if isinstance(text, str) else " | ".join(text)).split())
    return whole if len(whole) <= _MOST_CHARACTERS else whole[:_MOST_CHARACTERS].rstrip() + "..."
