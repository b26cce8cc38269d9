"""The app's way in: ``compress.load(folder)`` gives a classifier that answers texts with labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.errors import TextError
from compress.runtime.encoding import Text
from compress.runtime.predictor import Logits, predict_logits
from compress.runtime.session import OnnxPredictor
from compress.task import is_multi_label, reads_pairs

_MULTI_LABEL_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: the likeliest label.
        score: its probability.
        scores: the probability of each label; they add up to 1 unless the task is multi-label.
        labels: the labels that apply: ``label`` alone, or for multi-label tasks all with a score of at least 0.5.
    """

    label: str
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Prediction(label={self.label!r}, score={self.score:.2f})"


class Classifier:
    """An exported model, ready to answer; made by :func:`load`."""

    def __init__(self, predictor: OnnxPredictor) -> None:
        self._predictor = predictor
        self.labels = predictor.labels
        self.task = predictor.task
        self.precision = predictor.precision

    def __call__(self, texts: Iterable[Text]) -> list[Prediction]:
        """One prediction a text, in order.

        Raises:
            TextError: an item is not a text (or, for a task on pairs, not a pair of texts); names its position.
        """
        probabilities = _probabilities(self.logits(texts), multi_label=is_multi_label(self.task))
        return [self._prediction(row) for row in probabilities.tolist()]

    def logits(self, texts: Iterable[Text]) -> Logits:
        """The raw logits, float32 ``[n, labels]``, in the order of ``labels``."""
        return predict_logits(self._predictor, _checked(texts, pairs=reads_pairs(self.task)))

    def _prediction(self, probabilities: list[float]) -> Prediction:
        scores = dict(zip(self.labels, probabilities, strict=True))
        label = max(scores, key=scores.__getitem__)
        applying = tuple(name for name, score in scores.items() if score >= _MULTI_LABEL_THRESHOLD)
        return Prediction(label, scores[label], scores, applying if is_multi_label(self.task) else (label,))


def load(folder: str | Path, *, threads: int | None = None) -> Classifier:
    """The classifier in an exported folder; its int8 graph where it has one.

    Args:
        folder: what ``compress export`` or ``compress quantize`` wrote.
        threads: CPU threads to use; default: all that this process may use.

    Raises:
        CompressError: the folder is not an ONNX model, or a file of it is missing or changed.
    """
    return Classifier(OnnxPredictor.open(Path(folder), threads))


def _checked(texts: Iterable[Text], *, pairs: bool) -> Sequence[Text]:
    if isinstance(texts, str):
        raise TextError("texts must be a list of texts, got one str; write clf([text])")
    found = list(texts)
    for position, text in enumerate(found):
        if pairs and not (isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(t, str) for t in text)):
            raise TextError(f"texts[{position}] must be a pair of texts, got {text!r:.60}")
        if not pairs and not isinstance(text, str):
            raise TextError(f"texts[{position}] must be a str, got {text!r:.60}")
    return [tuple(text) if pairs else text for text in found]  # type: ignore[misc]  # checked just above


def _probabilities(logits: Logits, *, multi_label: bool) -> Logits:
    if multi_label:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)  # a sigmoid that cannot overflow
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), dtype=np.float32)
