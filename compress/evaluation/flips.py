"""The texts that a model answers otherwise than the first one: what compression cost, one text at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.evaluation.metrics import Indicators
from compress.runtime.encoding import Text

_MOST_TEXTS = 100
_MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Flip:
    """One text with another answer.

    Attributes:
        text: the text, or the two of a pair with a bar between them; cut where it is long.
        right: its true labels; None where the data have no labels.
        first: what the first model says.
        now: what this model says.
    """

    text: str
    right: tuple[str, ...] | None
    first: tuple[str, ...]
    now: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """All answers that changed, counted, and the first hundred of them: the mistakes that are new come first."""

    count: int
    became_wrong: int | None
    became_right: int | None
    texts: tuple[Flip, ...]


def find_flips(
    texts: Sequence[Text], labels: tuple[str, ...], first: Indicators, other: Indicators, true: Indicators | None
) -> Flips:
    """Where ``other`` answers otherwise than ``first``; all are ``[n, labels]``, ``true`` is None without labels."""
    flipped = np.flatnonzero((first != other).any(axis=1))
    worse = better = None
    if true is not None:
        was_right, is_right = ((said[flipped] == true[flipped]).all(axis=1) for said in (first, other))
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


def _named(labels: tuple[str, ...], said: Indicators, row: int) -> tuple[str, ...]:
    return tuple(label for label, applies in zip(labels, said[row], strict=True) if applies)


def _shown(text: Text) -> str:
    whole = " ".join((text if isinstance(text, str) else " | ".join(text)).split())
    return whole if len(whole) <= _MOST_CHARACTERS else whole[:_MOST_CHARACTERS].rstrip() + "..."
