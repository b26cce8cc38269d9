"""Texts to ask, and the answer that each has to get: that of the text alone."""

import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import compress
from compress.demo_assets import bbc_news
from compress.runtime.classifier import Classifier

_ODD = ["", " ", "\t\n", "a", "🎬" * 300, "\u0301" * 50, "no end " * 3000, "x" * 20_000]
_TOLERANCE = 1e-5  # fp32 adds in another order where texts share a batch
Scores = dict[str, float]


@cache
def _sentences() -> list[str]:
    return sorted({part for article in bbc_news()[0] for part in re.split(r"(?<=[.!?])\s+", article)})


class Answers:
    """Sentences of the news and odd texts, with the scores that a model gives to each alone."""

    def __init__(self, classifier: Classifier, texts: int = 500) -> None:
        self.texts = [*_ODD, *random.Random(0).sample(_sentences(), texts - len(_ODD))]
        self.alone = [classifier(text).scores for text in self.texts]

    @classmethod
    def of(cls, model: Path) -> "Answers":
        """Of the model in this folder."""
        with compress.load(model, threads=1) as classifier:
            return cls(classifier)

    def draw(self, rng: random.Random, count: int) -> list[int]:
        """The numbers of so many texts."""
        return rng.choices(range(len(self.texts)), k=count)

    def wrong(self, numbers: Sequence[int], found: Sequence[Scores]) -> int:
        """How many of these texts got other scores than alone; all, if not as many came as were asked for."""
        if len(found) != len(numbers):
            return len(numbers)
        pairs = ((self.alone[number], scores) for number, scores in zip(numbers, found, strict=True))
        return sum(not _same(expected, scores) for expected, scores in pairs)


def _same(expected: Scores, found: Scores) -> bool:
    return expected.keys() == found.keys() and all(abs(expected[name] - found[name]) < _TOLERANCE for name in found)
