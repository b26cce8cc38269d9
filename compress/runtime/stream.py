"""Texts in, answers out, line by line: what ``compress predict`` does, in the same memory for any number of lines."""

import json
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, TextIO

from compress.errors import CompressError
from compress.task import reads_pairs

if TYPE_CHECKING:
    from compress.runtime.classifier import Classifier, Prediction

_LINES_AT_ONCE = 256


def lines_of(stream: TextIO) -> Iterator[str]:
    """The lines of ``stream``, read as UTF-8 whatever the locale says."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    return (line.rstrip("\n") for line in stream)


def predict(classifier: "Classifier", texts: Iterable[str]) -> Iterator[tuple[str, "Prediction"]]:
    """Each text with its prediction, in order; for a task on pairs, a text is two with a tab between them.

    Raises:
        CompressError: a text is not UTF-8, or not a pair where one is needed; says which.
    """
    remaining = (_readable(text, number) for number, text in enumerate(texts, start=1))
    pairs = reads_pairs(classifier.task)
    while chunk := list(islice(remaining, _LINES_AT_ONCE)):
        yield from zip(chunk, classifier([_pair(text) for text in chunk] if pairs else chunk), strict=True)


def formatted(predictions: Iterable[tuple[str, "Prediction"]], *, as_json: bool) -> Iterator[str]:
    """Lines to print: labels, score and text with tabs between them, or one JSON array."""
    if not as_json:
        for text, prediction in predictions:
            yield f"{','.join(prediction.labels) or '-'}\t{prediction.score:.4f}\t{text}"
        return
    before = "["
    for text, prediction in predictions:
        answer = {"text": text, "label": prediction.label, "score": prediction.score, "labels": prediction.labels}
        yield before + json.dumps(answer | {"scores": prediction.scores}, ensure_ascii=False)
        before = ","
    yield "[]" if before == "[" else "]"


def _readable(text: str, number: int) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CompressError(
            f"predict: text {number}: not UTF-8 ({text!r:.60}); convert it, for example with: iconv -f LATIN1 -t UTF-8"
        ) from None
    return text


def _pair(text: str) -> tuple[str, str]:
    first, tab, second = text.partition("\t")
    if not tab:
        raise CompressError(f"predict: this model reads pairs, two texts with a tab between them, got {text!r:.60}")
    return first, second
