"""Texts in, answers out, line by line, in constant memory: the work of ``compress predict``."""

import json
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import tee
from typing import TYPE_CHECKING, TextIO

from compress.errors import CompressError
from compress.task import reads_pairs

if TYPE_CHECKING:
    from compress.runtime.classifier import Classifier, Prediction

FORMATS = ("tsv", "jsonl")
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})


def lines_of(stream: TextIO) -> Iterator[str]:
    """The lines of ``stream`` as ``wc -l`` counts them, read as UTF-8 in any locale, without a byte-order mark."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    return (line.removesuffix("\n").removesuffix("\r") for line in stream)


def predict(classifier: "Classifier", texts: Iterable[str]) -> Iterator[tuple[str, "Prediction"]]:
    """Each text with its prediction, in order; for a task on pairs, a text is two texts with a tab between them."""
    shown, read = tee(_readable(text, number) for number, text in enumerate(texts, start=1))
    yield from zip(shown, classifier.stream(map(_pair, read) if reads_pairs(classifier.task) else read), strict=True)


def formatted(predictions: Iterable[tuple[str, "Prediction"]], form: str) -> Iterator[str]:
    """The predictions as lines to print in a format.

    ``tsv``: labels, score and text, whose line breaks are escaped; ``jsonl``: an object a line; ``json``: one array of
    the same objects.
    """
    if form == "tsv":
        for text, prediction in predictions:
            labels = ",".join(prediction.labels) or "-"
            yield f"{labels}\t{prediction.score:.4f}\t{text.translate(_LINE_BREAKS)}"
    elif form == "jsonl":
        yield from (_as_json(text, prediction) for text, prediction in predictions)
    else:
        before = "["
        for text, prediction in predictions:
            yield before + _as_json(text, prediction)
            before = ","
        yield "[]" if before == "[" else "]"


def _as_json(text: str, prediction: "Prediction") -> str:
    answer = {"text": text, "label": prediction.label, "score": prediction.score, "labels": prediction.labels}
    answer |= {"abstained": prediction.abstained, "scores": prediction.scores}
    return json.dumps(answer, ensure_ascii=False)


def _readable(text: str, number: int) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CompressError(
            f"predict: text {number}: not UTF-8 ({text!r:.60}); find the encoding of the input, and convert it to UTF-8"
        ) from None
    return text


def _pair(text: str) -> tuple[str, str]:
    first, tab, second = text.partition("\t")
    if not tab:
        raise CompressError(f"predict: this model reads pairs, two texts with a tab between them, got {text!r:.60}")
    return first, second
