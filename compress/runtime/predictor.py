"""The interface of everything that turns texts into logits, and the one path by which all are run and measured."""

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
    # The scales come from the whole batch, so a text has the same answer as in every other client only if it is alone
    # (one of 872 SST-2 sentences moved by 0.25 with the texts that shared its batch).
    "dynamic": 1,
    # Enough rows for an efficient product; the activations of more leave the CPU's caches. Padding changes no bit of an
    # answer in ONNX Runtime's kernels for x86.
    "static": 256,
}


def batch_tokens_of(operators: Collection[str]) -> int:
    """Tokens that a batch of texts of like length may hold, for a graph with these ``operators``; 1: one text."""
    return _BATCH_TOKENS.get(activations_of(operators) or "", BATCH_TOKENS)


class NotFiniteError(CompressError):
    """A model answers with NaN or infinity; ``row`` is the number, from 0, of the first text with such an answer."""

    row = 0

    @classmethod
    def of_text(cls, place: str, row: int) -> Self:
        """The error for one text, which stands at ``place``."""
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
    batch_tokens: int  # the most tokens in a batch, padding included, unless a call sets another number

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
    """Logits of texts that are token ids already, float32 ``[texts, labels]``; those of a text's windows are pooled.

    ``batch_tokens`` is the most tokens in a batch of texts of like length (default: the predictor's), and ``executor``
    computes several batches at once. After each batch ``advance`` is called with the number of texts whose first rows
    it holds.
    """
    texts = [encoding.rows for encoding in encodings]
    rows = list(chain.from_iterable(texts))
    logits = np.empty((len(rows), len(predictor.labels)), dtype=np.float32)
    batches = list(by_length(list(map(len, rows)), batch_tokens or predictor.batch_tokens))

    def answer(batch: list[int]) -> Logits:
        return predictor.run(pad([rows[row] for row in batch]))

    answers = executor.map(answer, batches) if executor and len(batches) > 1 else map(answer, batches)
    firsts = set(accumulate(map(len, texts), initial=0))
    for batch, batch_logits in zip(batches, answers, strict=True):
        logits[batch] = batch_logits
        if advance is not None:
            advance(sum(row in firsts for row in batch))
    return logits if len(rows) == len(texts) else predictor.encoder.long_texts.pool(logits, list(map(len, texts)))


def check_finite(logits: Logits, model: str) -> Logits:
    """``logits`` ``[n, labels]`` unchanged; a ``model`` that answers with NaN or infinity is refused.

    Such answers have no order, so the first label would win, and JSON has no numbers for them.
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
    """Row numbers in batches of like length, of at most ``batch_tokens`` tokens with padding, or of one longer row.

    ``lengths`` are the rows' numbers of tokens.
    """
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
