"""From logits to an answer: scores, the labels that apply, and whether the score is enough to answer at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.folder import Manifest
from compress.runtime.predictor import Logits
from compress.task import is_multi_label

HALF = 0.5


@dataclass(frozen=True, slots=True)
class Decision:
    """What ``compress calibrate`` chose for a folder; without it a label applies from a score of 0.5 on.

    Attributes:
        thresholds: for multi-label tasks, by label in the order of the logits: the least score with which it applies.
        abstain_below: for the others: the least score of the likeliest label with which a text is answered.
    """

    thresholds: tuple[float, ...] | None = None
    abstain_below: float | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> "Decision":
        """The one that a folder's manifest has."""
        found: Mapping[str, Any] = manifest.decision or {}
        thresholds = found.get("thresholds")
        return cls(
            thresholds and tuple(float(thresholds[label]) for label in manifest.labels), found.get("abstain_below")
        )

    def applies(self, label: str, scores: dict[str, float], task: str) -> tuple[tuple[str, ...], bool]:
        """The labels that apply, of ``scores`` of which that of ``label`` is the highest; and whether it abstains."""
        if is_multi_label(task):
            least = self.thresholds or (HALF,) * len(scores)
            named = zip(scores.items(), least, strict=True)
            return tuple(name for (name, score), needed in named if score >= needed), False
        abstains = self.abstain_below is not None and scores[label] < self.abstain_below
        return () if abstains else (label,), abstains


def probabilities(logits: Logits, *, multi_label: bool) -> Logits:
    """The score of each label, float32 ``[n, labels]``."""
    if multi_label:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)  # a sigmoid that cannot overflow
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), dtype=np.float32)
