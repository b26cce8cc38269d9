"""The one seam: whatever turns texts into logits looks like this, so everything is measured by one path."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from compress.progress import Advance
from compress.runtime.encoding import Encoding, Feeds, Text, TextEncoder, pad

Logits = npt.NDArray[np.float32]

_BATCH_TOKENS = 4096


class Predictor(Protocol):
    """A classifier that can be measured, whatever runs it."""

    task: str
    labels: tuple[str, ...]
    encoder: TextEncoder

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``, of one padded batch of token ids."""
        ...


class MeasuredPredictor(Predictor, Protocol):
    """A predictor that also says what it is, for the benchmark's report."""

    backend: str
    provider: str | None
    precision: str
    size_bytes: int
    parameters: int


def predict_logits(predictor: Predictor, texts: Sequence[Text]) -> Logits:
    """Logits of each text, float32 ``[len(texts), labels]``, in the order given."""
    return encoded_logits(predictor, predictor.encoder(texts))


def encoded_logits(predictor: Predictor, encodings: Sequence[Encoding], advance: Advance | None = None) -> Logits:
    """Logits of texts that are token ids already; batches are made by length, ``advance`` is told of each."""
    logits = np.empty((len(encodings), len(predictor.labels)), dtype=np.float32)
    for rows in by_length(encodings, _BATCH_TOKENS):
        logits[rows] = predictor.run(pad([encodings[row] for row in rows]))
        if advance is not None:
            advance(len(rows))
    return logits


def by_length(encodings: Sequence[Encoding], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length, each at most ``batch_tokens`` when padded (or one row)."""
    rows: list[int] = []
    for row in sorted(range(len(encodings)), key=lambda row: len(encodings[row])):
        if rows and (len(rows) + 1) * len(encodings[row]) > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
