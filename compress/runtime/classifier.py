"""The app's way in: ``compress.load(folder)`` gives a classifier that answers texts with labels."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self, cast, overload

import numpy as np

from compress.errors import CompressError
from compress.folder import Manifest
from compress.formatting import shown
from compress.machine import usable_cpus
from compress.paths import local_path
from compress.replacement import open_whole
from compress.runtime.decision import probabilities
from compress.runtime.encoding import GivenText, Text, checked, is_one
from compress.runtime.predictor import Logits, NotFiniteError, check_finite, predict_logits
from compress.runtime.session import OnnxPredictor
from compress.task import is_multi_label, reads_pairs

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Texts read at once: enough to fill batches of like length, few enough to hold in memory with their tokens.
_TEXTS_AT_ONCE = 1024
_CHARACTERS_AT_ONCE = 10_000_000
_MOST = 2**31 - 1  # for onnxruntime


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: the likeliest label.
        score: its probability.
        scores: the probability of each label; they add up to 1 unless the task is multi-label.
        labels: the labels that apply: ``label`` alone, or for multi-label tasks all whose score reaches the threshold
            that ``compress calibrate`` chose for it (default: 0.5). Empty where it abstains.
        abstained: whether the score is too low to answer, in a folder that ``compress calibrate --max-error`` wrote.
    """

    label: str
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...]
    abstained: bool = False

    def __repr__(self) -> str:
        abstained = ", abstained" if self.abstained else ""
        return f"Prediction(label={self.label!r}, score={self.score:.2f}{abstained})"


class Classifier:
    """An exported model, ready to answer; made by :func:`load`. Threads may share it.

    A text is a ``str``; for tasks on pairs, two of them in a tuple or a list. Empty texts and control characters are
    answered as the tokenizer sees them. A text is answered by its beginning (by its end, where the model was made so):
    the model's ``max_length`` tokens. Of a long text no more is read than they need,
    where the tokenizer lets it be cut. A model trained with ``--long-texts`` reads both its ends, or all of it.

    It can be copied, pickled and used after a fork. Unless it has one thread, the folder is then opened again and must
    still hold the same model.

    Attributes:
        labels: names of the labels, in the order of the logits.
        task: ``single_label`` or ``multi_label``, or one of them after ``pair_``.
        precision: ``int8``, ``fp32`` or ``fp16``: which graph of the folder answers; or ``int8 and fp32``, for a
            cascade whose two models differ.
        reason: why that graph was chosen, in words.
    """

    labels: tuple[str, ...]
    task: str
    precision: str
    reason: str

    def __init__(self, predictor: OnnxPredictor, batch_tokens: int | None = None) -> None:
        self.labels = predictor.labels
        self.task = predictor.task
        self.precision = predictor.precision
        self.reason = predictor.reason
        self._decision = predictor.decision
        self._predictor: OnnxPredictor | None = predictor
        self._batch_tokens = batch_tokens
        self._executor = _executor_of(predictor)
        self._process = os.getpid()
        self._opening = Lock()

    @overload
    def __call__(self, texts: str) -> Prediction: ...  # type: ignore[overload-overlap]  # a str is an iterable too
    @overload
    def __call__(self, texts: tuple[str, str]) -> Prediction | list[Prediction]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, texts: Iterable[GivenText]) -> list[Prediction]: ...

    def __call__(self, texts: str | Iterable[GivenText]) -> Prediction | list[Prediction]:
        """One prediction for one text; a list of them, in order, for any iterable of texts, a generator too.

        For tasks on pairs, a tuple of two texts is one pair.

        Raises:
            TextError: an item is not a text (or, for a task on pairs, not a pair of texts); names its position.
            UnreadableTextError: a text has a lone surrogate; names its position.
        """
        if is_one(texts, pairs=reads_pairs(self.task)):
            return next(self.stream([cast(Text, texts)]))
        return list(self.stream(texts))

    def stream(self, texts: Iterable[GivenText]) -> Iterator[Prediction]:
        """The predictions for any number of texts, lazily and in constant memory.

        A thousand texts are read at a time, fewer where they are very long.

        Raises:
            TextError: as for a call; texts of earlier reads have been answered by then.
            UnreadableTextError: likewise.
        """
        multi_label = is_multi_label(self.task)
        for logits in self._windows(texts):
            yield from map(self._prediction, probabilities(logits, multi_label=multi_label).tolist())

    def logits(self, texts: str | Iterable[GivenText]) -> Logits:
        """The graph's logits, float32 ``[n, labels]`` (``[labels]`` for one text), in the order of ``labels``.

        ``quantize`` has divided them by the temperature that it fitted, so their softmax (for multi-label tasks their
        sigmoid) is the score, here as in every other client.
        """
        if is_one(texts, pairs=reads_pairs(self.task)):
            row: Logits = next(self._windows([cast(Text, texts)]))[0]
            return row
        return np.concatenate([np.empty((0, len(self.labels)), dtype=np.float32), *self._windows(texts)])

    def close(self) -> None:
        """Free memory and threads; later calls raise CompressError.

        Threads that wait for an answer get it, or that error.
        """
        self._predictor = None
        if self._executor is not None and os.getpid() == self._process:
            self._executor.shutdown()

    def __enter__(self) -> Self:
        """The classifier itself; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"Classifier({self.task}, {len(self.labels)} labels, {self.precision}: {self.reason})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the folder and how it was loaded."""
        return Classifier, (self._open(), self._batch_tokens)

    def _windows(self, texts: Iterable[GivenText]) -> Iterator[Logits]:
        self._open()  # raises if it is closed, even without texts
        remaining = checked(texts, pairs=reads_pairs(self.task))
        answered = 0
        while window := _next_of(remaining):
            try:
                logits = self._answers(window)
            except NotFiniteError as error:
                row = answered + error.row
                raise NotFiniteError.of_text(f"texts[{row}]", row) from None
            answered += len(window)
            yield logits

    def _answers(self, texts: list[Text]) -> Logits:
        """Logits ``[n, labels]`` of checked texts; a NotFiniteError has the row of the first broken answer."""
        predictor = self._open()
        try:
            logits = predict_logits(predictor, texts, batch_tokens=self._batch_tokens, executor=self._executor)
        except RuntimeError:  # from an executor that close() has shut down meanwhile
            self._open()  # raises the error of a closed classifier
            raise
        return check_finite(logits, "the model")

    def _open(self) -> OnnxPredictor:
        """The predictor; after a fork, one that works in this process."""
        if os.getpid() != self._process:
            with self._opening:
                if self._predictor is not None and os.getpid() != self._process:
                    self._predictor = self._predictor.after_fork()
                    self._executor = _executor_of(self._predictor)
                    self._process = os.getpid()
        predictor = self._predictor
        if predictor is None:
            raise CompressError("the classifier is closed; load it again")
        return predictor

    def _prediction(self, probabilities: list[float]) -> Prediction:
        scores = dict(zip(self.labels, probabilities, strict=True))
        label = max(scores, key=scores.__getitem__)
        return Prediction(label, scores[label], scores, *self._decision.applies(label, scores, self.task))


def load(
    folder: str | Path, *, threads: int | None = None, instances: int = 1, batch_tokens: int | None = None
) -> Classifier:
    """The classifier in an exported folder; runs the int8 graph if there is one and this CPU runs int8 well.

    A model's files stay in use after loading: writing into one changes the answers, or ends the process. Replace the
    folder by a rename, as the steps do with ``--overwrite``, never by copying over it.

    Args:
        folder: a folder that ``compress export``, ``quantize``, ``calibrate`` or ``cascade`` wrote.
        threads: CPU threads to use; in a cascade each of the two models has as many, and they answer one after the
            other. Default: all that this process may use. (The tokenizer has its own threads: ``RAYON_NUM_THREADS``.)
        instances: batches computed at once, each on ``threads / instances`` threads; in a cascade for each of the two.
            As many as threads is best for many texts, 1 for a quick answer to one long text.
        batch_tokens: the most tokens in a batch of texts of like length, padding included. Default: 256 in static int8,
            4096 in fp32, and each text alone in dynamic int8, where the texts of a batch shift each other's scores;
            allow 1024 there for speed.

    Raises:
        CompressError: the folder is not an ONNX model, a file of it is missing or changed, or a number is impossible.
    """
    if threads is not None:
        _check_whole("threads", threads, _MOST)
    usable = 1 if instances == 1 else threads or usable_cpus()  # one instance fits always, so skip the system call
    _check_whole("instances", instances, usable, ", the number of threads")
    if batch_tokens is not None:
        _check_whole("batch_tokens", batch_tokens, _MOST, " (1 answers each text alone)")
    place = local_path(folder)

    def opened(manifest: Manifest) -> Classifier:
        if not manifest.is_cascade:
            return Classifier(OnnxPredictor.of(place, manifest, threads, instances), batch_tokens)
        from compress.runtime.cascade import open_cascade  # here, since it is made of two classifiers

        return open_cascade(place, manifest, threads, instances, batch_tokens)

    return open_whole(place, opened)


def _check_whole(name: str, given: object, most: int, about: str = "") -> None:
    """Refuse what is no whole number from 1 to ``most``."""
    if not (isinstance(given, int | np.integer) and 1 <= given <= most):
        raise CompressError(f"load: {name} must be a whole number from 1 to {most}{about}, got {shown(given)}")


def _executor_of(predictor: OnnxPredictor) -> "ThreadPoolExecutor | None":
    if predictor.instances == 1:
        return None
    from concurrent.futures import ThreadPoolExecutor  # here, since importing it takes as long as loading a small model

    return ThreadPoolExecutor(predictor.instances)


def _next_of(texts: Iterator[Text]) -> list[Text]:
    """The texts to answer next; empty when all are answered."""
    window: list[Text] = []
    characters = 0
    for text in texts:
        window.append(text)
        characters += len(text) if isinstance(text, str) else sum(map(len, text))
        if len(window) == _TEXTS_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            break
    return window
