"""The one seam: whatever turns texts into logits looks like this, so everything is measured by one path."""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.progress import Advance
from compress.runtime.encoding import Encoding, Feeds, Text, TextEncoder, pad
from compress.runtime.graph_file import activations_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

Logits = npt.NDArray[np.float32]

BATCH_TOKENS = 4096
_BATCH_TOKENS = {
    # Its scales are those of the whole batch: only alone is a text's answer its own (one of 872 SST-2 sentences moved
    # by 0.25 with the texts that shared its batch), and the same as in every other client.
    "dynamic": 1,
    # Enough rows for a product; the activations of more do not stay in the CPU's caches. Padding changes no bit of an
    # answer in ONNX Runtime's kernels for x86.
    "static": 256,
}


def batch_tokens_of(operators: Collection[str]) -> int:
    """Tokens that a batch of texts of like length may hold, for a graph with these ``operators``; 1: one text."""
    return _BATCH_TOKENS.get(activations_of(operators) or "", BATCH_TOKENS)


class NotFiniteError(CompressError):
    """A model answers with NaN or infinity; ``row`` is the number of the first text that it does so for, from 0."""

    row = 0

    @classmethod
    def of_text(cls, place: str, row: int) -> Self:
        """The error of one text, which is at this place."""
        error = cls(
            f"{place}: the model answers with NaN or infinity, so no label can be chosen: its weights are broken or "
            "too large for this text; train or make the model again"
        )
        error.row = row
        return error


class Predictor(Protocol):
    """A classifier that can be measured, whatever runs it."""

    task: str
    labels: tuple[str, ...]
    encoder: TextEncoder
    batch_tokens: int  # that a batch may hold, padding included, when nobody asks for another number

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


def predict_logits(
    predictor: Predictor,
    texts: Sequence[Text],
    *,
    batch_tokens: int | None = None,
    executor: "Executor | None" = None,
) -> Logits:
    """Logits of each text, float32 ``[len(texts), labels]``, in the order given."""
    return encoded_logits(predictor, predictor.encoder(texts), batch_tokens=batch_tokens, executor=executor)


def encoded_logits(
    predictor: Predictor,
    encodings: Sequence[Encoding],
    advance: Advance | None = None,
    *,
    batch_tokens: int | None = None,
    executor: "Executor | None" = None,
) -> Logits:
    """Logits of texts that are token ids already, those of a text in windows pooled.

    ``advance`` moves on by the texts whose first rows are in a batch when it is done.

    ``batch_tokens`` is how many a batch of texts of like length may hold (default: as the predictor says), and
    ``executor`` computes several batches at once.
    """
    texts = [encoding.rows for encoding in encodings]
    rows = list(chain.from_iterable(texts))
    logits = np.empty((len(rows), len(predictor.labels)), dtype=np.float32)
    batches = list(by_length(list(map(len, rows)), batch_tokens or predictor.batch_tokens))

    def answer(batch: list[int]) -> Logits:
        return predictor.run(pad([rows[row] for row in batch]))

    answers = executor.map(answer, batches) if executor and len(batches) > 1 else map(answer, batches)
    firsts = set(accumulate(map(len, texts), initial=0))
    for batch, found in zip(batches, answers, strict=True):
        logits[batch] = found
        if advance is not None:
            advance(sum(row in firsts for row in batch))
    return logits if len(rows) == len(texts) else predictor.encoder.long_texts.pool(logits, list(map(len, texts)))


def check_finite(logits: Logits, model: str) -> Logits:
    """``logits`` ``[n, labels]`` as they are; a ``model`` that answers with NaN or infinity is refused.

    Such answers have no order, so that the first label would win, and JSON has no numbers for them.
    """
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        error = NotFiniteError(
            f"{model}: its answers to {len(broken)} of {len(logits)} texts are not finite numbers, so its weights are "
            "broken or too large; train or make the model again"
        )
        error.row = int(broken[0])
        raise error
    return logits


def by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length, each at most ``batch_tokens`` when padded; a longer row is one of its own.

    ``lengths`` are the rows' tokens.
    """
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
