"""How often bench's 95% intervals hold the truth, over simulated test sets whose truth is known.

python -m benchmarks.coverage

A model that is right on a known share of a known population answers test sets drawn from it; 93 to 97 of 100 intervals
should hold the population's own figure. There are 2,000 sets a case, since of only 100 the count itself would be off by
two or more every third time. One line a case on stdout and in ``results/coverage.jsonl``. No clock is involved.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.kept import RESULTS, about
from compress.evaluation.comparison import measure_change
from compress.evaluation.metrics import Indicators, Interval, from_counts, measure_accuracy, text_counts, truth

KEPT = RESULTS / "coverage.jsonl"
SETS = 2_000
POPULATION = 1_000_000
LABELS = 3


@dataclass(frozen=True)
class Case:
    """A figure, the size of a test set, and the shares of texts that the two models answer rightly."""

    figure: str
    texts: int
    first: float = 0.90
    other: float = 0.88


CASES = (
    *(Case("accuracy", texts, first) for texts, first in ((445, 0.97), (872, 0.90), (3080, 0.93))),
    *(Case("macro_f1", texts) for texts in (445, 872)),
    *(Case("change of accuracy", texts) for texts in (445, 872)),
    Case("change of accuracy", 222, 0.985, 0.98),  # the demo's test texts and models
)


def main() -> None:
    """Print and write how many intervals hold the truth."""
    partial = KEPT.with_suffix(".partial")  # an earlier run's results stay until there are others
    with partial.open("w", encoding="utf-8") as file:
        for case in CASES:
            held = np.fromiter(holds(case), dtype=np.bool_, count=SETS)
            row = about([1]) | {"figure": case.figure, "texts": case.texts, "sets": SETS}
            row |= {"held_of_100": round(100 * float(held.mean()), 1)}
            file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    partial.replace(KEPT)


def holds(case: Case) -> Iterator[bool]:
    """Whether the interval of each simulated test set holds the population's figure."""
    rng = np.random.default_rng(0)
    figure, interval = _FIGURES[case.figure]
    expected = figure(*draw(case, POPULATION, rng))
    for _ in range(SETS):
        low, high = interval(*draw(case, case.texts, rng))
        yield low <= expected <= high


def draw(case: Case, texts: int, rng: np.random.Generator) -> tuple[Indicators, Indicators, Indicators]:
    """Right answers, the first model's and the other's, which are wrong on much the same texts."""
    classes = rng.choice(LABELS, size=texts, p=[0.6, 0.3, 0.1])
    difficulty = rng.random(texts)
    answers = []
    for share in (case.first, case.other):
        right = difficulty + rng.normal(0, 0.03, texts) < share
        answers.append(truth(np.where(right, classes, (classes + rng.integers(1, LABELS, texts)) % LABELS), LABELS))
    return truth(classes, LABELS), answers[0], answers[1]


def _score(metric: str, predicted: Indicators, true: Indicators) -> float:
    return float(from_counts(metric, text_counts(metric, predicted, true).sum(axis=0), len(true)))


Figure = Callable[[Indicators, Indicators, Indicators], float]
Find = Callable[[Indicators, Indicators, Indicators], Interval]

_FIGURES: dict[str, tuple[Figure, Find]] = {
    "accuracy": (
        lambda true, first, _: _score("accuracy", first, true),
        lambda true, first, _: measure_accuracy("accuracy", first, true, 0).ci95,
    ),
    "macro_f1": (
        lambda true, first, _: _score("macro_f1", first, true),
        lambda true, first, _: measure_accuracy("macro_f1", first, true, 0).ci95,
    ),
    "change of accuracy": (
        lambda true, first, other: _score("accuracy", other, true) - _score("accuracy", first, true),
        lambda true, first, other: measure_change("accuracy", first, other, true, 0).ci95,
    ),
}


if __name__ == "__main__":
    main()
