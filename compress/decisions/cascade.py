"""From two classifiers and validation texts to a score below which the small one hands on; and whether that pays."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compress.config import CascadeConfig
from compress.decisions.hand_on import HandOn, choose_hand_on, texts_needed
from compress.errors import CompressError
from compress.evaluation.metrics import Floats
from compress.progress import progress
from compress.runtime.cascade import Cascade
from compress.runtime.classifier import Classifier
from compress.runtime.decision import probabilities
from compress.runtime.encoding import Text
from compress.workers.timing import TimedCalls, in_turn

if TYPE_CHECKING:
    from compress.data import Split

_TIMED_TEXTS = 128
_ROUNDS_AT_LEAST = 3


@dataclass(frozen=True)
class Chosen:
    """What was chosen, as in a manifest, and what was measured."""

    decision: dict[str, Any]
    metrics: dict[str, Any]


def cascade(small: Classifier, large: Classifier, validation: "Split", config: CascadeConfig) -> Chosen:
    """The score below which ``small`` hands on to ``large``, both of one task and set of labels.

    Raises:
        CompressError: there are too few texts for the bound, or a cascade does not pay: the small model alone is
            good enough or is the slower one, or the cascade is no faster than the large one.
    """
    texts, max_drop = validation.texts, config.max_drop / 100
    if len(texts) < (needed := texts_needed(max_drop)):
        raise CompressError(
            f"cascade.max_drop {config.max_drop:g} needs at least {needed:,} validation texts, got {len(texts):,}; "
            "give more with --validation FILE, or allow more"
        )
    with progress("cascade", total=3) as advance:
        logits = []
        for name, model in (("small", small), ("large", large)):
            logits.append(model.logits(texts))
            advance(note=f"{name} model answered")
        scores = probabilities(logits[0], multi_label=False).max(axis=1).astype(np.float64)
        right = [_right(*each, validation) for each in zip((small, large), logits, strict=True)]
        found = choose_hand_on(scores, *right, max_drop)
        if not found.handed_on:
            raise CompressError(
                f"cascade: the small model alone loses at most {config.max_drop:g} points, so it needs no cascade; use "
                "it by itself"
            )
        both = Cascade(small, large, found.hand_on_below)
        times_ms = _answer_ms(small, large, both, _sample(texts, both.handed_on(logits[0]), config.seed), config)
        advance(note="timed")
    _refuse_what_does_not_pay(found, *times_ms)
    names = ("small_answer_ms", "large_answer_ms", "answer_ms")
    accuracies = {"small_accuracy": float(right[0].mean()), "large_accuracy": float(right[1].mean())}
    told = {name: getattr(found, name) for name in ("hand_on_below", "handed_on", "drop", "drop_bound")}
    return Chosen(asdict(found), told | accuracies | dict(zip(names, times_ms, strict=True)))


def _right(model: Classifier, logits: npt.NDArray[np.float32], validation: "Split") -> npt.NDArray[np.bool_]:
    targets = validation.targets(model.labels, model.task)
    return np.asarray(logits.argmax(axis=1) == targets)


def _sample(texts: Sequence[Text], handed_on: npt.NDArray[np.intp], seed: int) -> list[Text]:
    """Texts to time, drawn at random so that as large a share of them is handed on as of all."""
    rng = np.random.default_rng(seed)
    kept = np.setdiff1d(np.arange(len(texts)), handed_on)
    wanted = min(_TIMED_TEXTS, len(texts))
    hard = round(wanted * len(handed_on) / len(texts))
    rows = np.concatenate([rng.permutation(handed_on)[:hard], rng.permutation(kept)[: wanted - hard]])
    return [texts[row] for row in rng.permutation(rows)]


def _answer_ms(
    small: Classifier, large: Classifier, both: Cascade, texts: Sequence[Text], config: CascadeConfig
) -> list[float]:
    """The mean milliseconds from a text to its answer of each; they take turns, and of each text the median counts."""
    timed = [TimedCalls(model, texts) for model in (small, large, both)]
    times_ms: list[list[Floats]] = [[], [], []]
    number = 0
    while number < _ROUNDS_AT_LEAST or max(map(np.sum, times_ms)) < 1000 * config.seconds:
        for place in in_turn(range(len(timed)), number):
            times_ms[place].append(np.asarray(timed[place].turn(len(texts))))
        number += 1
    return [float(np.median(rounds, axis=0).mean()) for rounds in times_ms]


def _refuse_what_does_not_pay(found: HandOn, small_ms: float, large_ms: float, both_ms: float) -> None:
    if small_ms >= large_ms:
        raise CompressError(
            f"cascade: the small model takes {small_ms:.2f} ms from a text to its answer and the large one "
            f"{large_ms:.2f}; give the faster one first"
        )
    if both_ms >= large_ms:
        raise CompressError(
            f"cascade: does not pay: {100 * found.handed_on:.0f}% of the texts must be handed on to lose at most "
            f"{100 * found.max_drop:g} points, and then an answer takes {both_ms:.2f} ms on average, with the large "
            f"model alone {large_ms:.2f}; give a better or faster small model, or allow more"
        )
