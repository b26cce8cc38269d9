"""Choose the score below which a small classifier hands texts on to a large one, and measure whether that pays."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.clock import Stopwatch
from compress.config import CascadeConfig
from compress.data import Split
from compress.decisions.hand_on import HandOn, NotShownError, choose_hand_on, texts_needed
from compress.errors import CompressError
from compress.evaluation.metrics import Floats
from compress.progress import Advance, progress
from compress.runtime.cascade import Cascade, highest_scores
from compress.runtime.classifier import Classifier
from compress.runtime.encoding import Text
from compress.runtime.predictor import Logits, NotFiniteError
from compress.workers.timing import TimedCalls, in_turn

_TIMED_TEXTS = 128
_ROUNDS_AT_LEAST = 3


class DoesNotPayError(CompressError):
    """One of the two models serves as well by itself."""


@dataclass(frozen=True)
class Chosen:
    """The decision, as in a manifest, and the metrics measured."""

    decision: dict[str, Any]
    metrics: dict[str, Any]


def cascade(small: Classifier, large: Classifier, validation: Split, config: CascadeConfig) -> Chosen:
    """Choose the score below which ``small`` hands on to ``large``; both have the same task and labels.

    Raises:
        NotShownError: the bound cannot be shown on these texts.
        DoesNotPayError: the small model is no faster than the large one, or good enough alone, or the cascade is no
            faster on average than the large model.
    """
    texts, max_drop = validation.texts, config.max_drop / 100
    with progress("cascade", total=4) as advance:
        small_logits = _answered("small", small, texts, advance)
        large_logits = _answered("large", large, texts, advance)
        sample = _sample(texts, np.arange(0), config.seed)
        small_ms, large_ms = _answer_ms((small, large), sample, config.seconds)
        _refuse_slower(small_ms, large_ms)
        advance(note="timed both models")
        right = _right(small, small_logits, validation), _right(large, large_logits, validation)
        hand_on = choose_hand_on(highest_scores(small_logits), *right, max_drop)
        _refuse_needless(hand_on)
        both = Cascade(small, large, hand_on.hand_on_below)
        sample = _sample(texts, both.handed_on(small_logits), config.seed)
        large_ms, both_ms = _answer_ms((large, both), sample, config.seconds)
        advance(note="timed the cascade")
    _refuse_unpaid(hand_on, large_ms, both_ms)
    measured = {"small_accuracy": float(right[0].mean()), "large_accuracy": float(right[1].mean())}
    measured |= {"answer_ms": both_ms, "small_answer_ms": small_ms, "large_answer_ms": large_ms}
    return Chosen(asdict(hand_on), asdict(hand_on) | measured)


def refuse_few(texts: int, max_drop: float) -> None:
    """Refuse fewer validation texts than can show a loss of at most ``max_drop`` points, whatever the models."""
    if texts < (needed := texts_needed(max_drop / 100)):
        raise NotShownError(
            f"cascade.max_drop {max_drop:g} needs at least {needed:,} validation texts, got {texts:,}; give more with "
            "--validation FILE, or allow more points with --max-drop"
        )


def _answered(name: str, model: Classifier, texts: Sequence[Text], advance: Advance) -> Logits:
    try:
        logits = model.logits(texts)
    except NotFiniteError as error:
        raise NotFiniteError.of_text(f"cascade: the {name} model, validation text {error.row + 1}", error.row) from None
    advance(note=f"answered {len(texts):,} texts")
    return logits


def _right(model: Classifier, logits: Logits, validation: Split) -> npt.NDArray[np.bool_]:
    targets = validation.targets(model.labels, model.task)
    return np.asarray(logits.argmax(axis=1) == targets)


def _sample(texts: Sequence[Text], handed_on: npt.NDArray[np.intp], seed: int) -> list[Text]:
    """A random sample of texts to time, in which the share handed on is as in all texts."""
    rng = np.random.default_rng(seed)
    kept = np.setdiff1d(np.arange(len(texts)), handed_on)
    wanted = min(_TIMED_TEXTS, len(texts))
    hard = round(wanted * len(handed_on) / len(texts))  # at most as many as there are
    rows = np.concatenate([rng.permutation(handed_on)[:hard], rng.permutation(kept)[: wanted - hard]])
    return [texts[row] for row in rng.permutation(rows)]


def _answer_ms(models: Sequence[Classifier], texts: Sequence[Text], seconds: float) -> list[float]:
    """Each model's mean milliseconds from a text to its answer, over medians by text; the models take turns."""
    timed = [TimedCalls(model, texts) for model in models]
    times_ms: list[list[Floats]] = [[] for _ in models]
    number, watch = 0, Stopwatch()
    while number < _ROUNDS_AT_LEAST or watch.seconds < len(models) * seconds:
        for place in in_turn(range(len(models)), number):
            times_ms[place].append(np.asarray(timed[place].turn(len(texts))))
        number += 1
    return [float(np.median(rounds, axis=0).mean()) for rounds in times_ms]


def _refuse_slower(small_ms: float, large_ms: float) -> None:
    if small_ms >= large_ms:
        raise DoesNotPayError(
            f"cascade: the small model takes {small_ms:.2f} ms from a text to its answer and the large one "
            f"{large_ms:.2f}; name the faster one first, or use the large one by itself"
        )


def _refuse_needless(hand_on: HandOn) -> None:
    if not hand_on.handed_on:
        raise DoesNotPayError(
            f"cascade: the small model alone loses at most {100 * hand_on.max_drop:g} points, so it needs no large "
            "one; use it by itself"
        )


def _refuse_unpaid(hand_on: HandOn, large_ms: float, both_ms: float) -> None:
    if both_ms >= large_ms:
        raise DoesNotPayError(
            f"cascade: does not pay: {100 * hand_on.handed_on:.0f}% of the texts must be handed on to lose at most "
            f"{100 * hand_on.max_drop:g} points, and then an answer takes {both_ms:.2f} ms on average, with the large "
            f"model alone {large_ms:.2f}; give a better or faster small model, or allow more points with --max-drop"
        )
