"""Two classifiers in one folder: a small one answers where it is sure, a large one where it is not.

Cascades of classifiers are due to Viola and Jones (2001); here the score of the likeliest label says how sure the small
one is, and ``compress cascade`` chose the score from which on its answer stands.
"""

from copy import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.folder import LARGE, SMALL, Manifest, read_part
from compress.runtime.classifier import Classifier
from compress.runtime.decision import Decision, probabilities
from compress.runtime.encoding import Text
from compress.runtime.predictor import Logits, NotFiniteError
from compress.runtime.session import OnnxPredictor
from compress.task import is_multi_label


def open_cascade(
    folder: Path,
    manifest: Manifest,
    threads: int | None,
    instances: int,
    batch_tokens: int | None = None,
    provider: str = "CPU",
) -> "Cascade":
    """The cascade in a folder with this ``manifest``; each of its two models gets these threads and instances.

    Raises:
        CompressError: one of the two models cannot be opened, or is not for the cascade's task and labels.
    """
    parts = {name: read_part(folder, manifest, name) for name in (SMALL, LARGE)}
    for name, part in parts.items():
        if part.task != manifest.task or {*part.labels} != {*manifest.labels} or is_multi_label(part.task):
            raise CompressError(
                f"{folder / name}: has another task or other labels than the cascade; make the folder again"
            )
    small, large = (
        Classifier(OnnxPredictor.of(folder / name, part, threads, instances, provider), batch_tokens)
        for name, part in parts.items()
    )
    return Cascade(small, large, float(manifest.hand_on_below or 0))


class Cascade(Classifier):
    """A classifier made of two, which :func:`compress.load` gives for a folder of ``compress cascade``.

    The small model reads every text. Of a thousand texts at a time, those that it gives too low a score for their
    likeliest label are handed on to the large model together. Each has its own tokenizer and maximum length.

    A cascade has no predictor of its own, so methods that use one are overridden: to describe, open, answer, close and
    copy. Checking texts, reading them a thousand at a time and deciding on labels is inherited.

    Args:
        small: the model that answers first. Both models are closed with the cascade.
        large: the model for the other texts; it has the same task and labels, in the order that the cascade takes over.
        hand_on_below: the least score with which the small model's answer stands.
    """

    def __init__(self, small: Classifier, large: Classifier, hand_on_below: float) -> None:
        self.small, self.large, self.hand_on_below = small, large, hand_on_below
        self.labels, self.task = large.labels, large.task
        self.precision = " and ".join(dict.fromkeys((small.precision, large.precision)))
        self.reason = f"a cascade, whose small model ({small.precision}) hands on below a score of {hand_on_below:.4g}"
        self._decision = Decision()
        self._columns = [small.labels.index(label) for label in large.labels]

    @property
    def predictors(self) -> tuple[OnnxPredictor, OnnxPredictor]:
        """The predictors of the small and the large model."""
        return self.small._open(), self.large._open()

    def close(self) -> None:
        """Free memory and threads of both models; later calls raise CompressError."""
        self.small.close()
        self.large.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the folders of both models, and how they were loaded."""
        return Cascade, (copy(self.small), copy(self.large), self.hand_on_below)  # closing a copy closes no original

    def handed_on(self, small_logits: Logits) -> npt.NDArray[np.intp]:
        """The rows of the small model's logits, ``[n, labels]``, whose texts the large model answers."""
        return np.flatnonzero(highest_scores(small_logits) < self.hand_on_below)

    def _open(self) -> OnnxPredictor:
        """The large model's predictor; CompressError if either model is closed."""
        return self.predictors[1]

    def _answers(self, texts: list[Text]) -> Logits:
        small = self.small._answers(texts)
        logits, hard = small[:, self._columns], self.handed_on(small)
        if len(hard):
            try:
                logits[hard] = self.large._answers([texts[row] for row in hard])
            except NotFiniteError as error:
                error.row = int(hard[error.row])
                raise
        return logits


def highest_scores(logits: Logits) -> npt.NDArray[np.float64]:
    """The score of each row's likeliest label, float64 ``[n]``, from logits float32 ``[n, labels]``."""
    return np.asarray(probabilities(logits, multi_label=False).max(axis=1), dtype=np.float64)
