"""Two classifiers in one folder: a small one answers where it is sure, a large one where it is not.

Cascades of classifiers are of Viola and Jones (2001); here the score of the likeliest label says how sure the small one
is, and ``compress cascade`` has chosen from which score on its answer stands.
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
    """The cascade in a folder whose manifest was read a moment ago; each of the two has so many threads and instances.

    Raises:
        CompressError: one of the two cannot be opened, or is not for the cascade's task and labels.
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

    The small one reads every text. Of a thousand texts at a time, those whose likeliest label has too low a score with
    it are handed on to the large one together. Each has a tokenizer and a longest text of its own.

    It has no predictor of its own, so what a classifier does with one is overridden: to say what it is, to open, to
    answer, to close and to be copied. How texts are checked, read a thousand at a time and decided on is inherited.

    Args:
        small: answers first. It stays open as long as this, and is closed with it; so is the other.
        large: has the same task and labels, in the order that the cascade then has.
        hand_on_below: the least score of the small one with which its answer stands.
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
        """What the two run."""
        return self.small._open(), self.large._open()

    def close(self) -> None:
        """Give back memory and threads of both; later questions raise CompressError."""
        self.small.close()
        self.large.close()

    def __reduce__(self) -> tuple[object, ...]:
        """By the folders of both, and how they were loaded."""
        return Cascade, (copy(self.small), copy(self.large), self.hand_on_below)  # a copy is closed by itself

    def handed_on(self, small_logits: Logits) -> npt.NDArray[np.intp]:
        """The rows of the small model's logits, ``[n, labels]``, whose texts the large one answers."""
        return np.flatnonzero(highest_scores(small_logits) < self.hand_on_below)

    def _open(self) -> OnnxPredictor:
        """The large one's, where both are open."""
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
    """The score of each row's likeliest label, float64 ``[n]``; of logits float32 ``[n, labels]``."""
    return np.asarray(probabilities(logits, multi_label=False).max(axis=1), dtype=np.float64)
