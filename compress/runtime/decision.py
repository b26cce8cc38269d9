"""From logits to an answer: scores, the labels that apply, and whether the score is high enough to answer."""

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
        thresholds: for multi-label tasks, the least score with which each label applies, in the order of the logits.
        abstain_below: for other tasks, the least score of the likeliest label with which a text is answered.
    """

    thresholds: tuple[float, ...] | None = None
    abstain_below: float | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> "Decision":
        """The decision in a folder's manifest."""
        entry: Mapping[str, Any] = manifest.decision or {}
        thresholds = entry.get("thresholds")
        return cls(
            thresholds and tuple(float(thresholds[label]) for label in manifest.labels), entry.get("abstain_below")
        )

    def applies(self, label: str, scores: dict[str, float], task: str) -> tuple[tuple[str, ...], bool]:
        """The labels that apply, and whether the model abstains; ``label`` has the highest of ``scores``."""
        if is_multi_label(task):
            thresholds = self.thresholds or (HALF,) * len(scores)
            with_threshold = zip(scores.items(), thresholds, strict=True)
            return tuple(name for (name, score), threshold in with_threshold if score >= threshold), False
        abstains = self.abstain_below is not None and scores[label] < self.abstain_below
        return () if abstains else (label,), abstains


def probabilities(logits: Logits, *, multi_label: bool) -> Logits:
    """The score of each label, float32 ``[n, labels]``."""
    if multi_label:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)  # a sigmoid that cannot overflow
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), dtype=np.float32)
