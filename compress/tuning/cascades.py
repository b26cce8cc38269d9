"""Join two of the models that were tried: a fast one that answers where it is sure, and a better one for the rest.

Nothing is trained for a cascade. ``compress cascade`` itself bounds its loss against the better model, on the texts to
choose by, and writes nothing where the cascade does not pay.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from compress.decisions.hand_on import texts_needed
from compress.steps.decisions import cascade
from compress.task import is_multi_label
from compress.tuning.candidates import Candidate, Steps
from compress.tuning.context import SearchContext
from compress.tuning.goals import Goals
from compress.tuning.tries import Try, best, front

_AT_MOST = 3
# A guess at the texts handed on for each that the small model answers differently from the teacher. It is doubled where
# the texts are just enough to show so small a loss, since then not one may be answered wrongly.
_HANDED_ON = 1.5
_SECONDS = 1.0  # for timing each model here; the cascade is timed again beside the others


@dataclass(frozen=True)
class Pair:
    """Two models for a cascade, and the points that it may lose against the large one by itself."""

    small: Try
    large: Try
    max_drop: float

    @property
    def about(self) -> Try:
        """The try of this cascade, before anything is measured."""
        title = f"{self.small.label}-then-{self.large.label}-within-{self.max_drop:g}"
        return Try(title, 0, small=self.small.label, large=self.large.label, max_drop=self.max_drop)

    def expected_ms(self, texts: int) -> float:
        """About the mean time from a text to its answer, where ``texts`` texts show the loss."""
        handed_on = _HANDED_ON * (1 - self.small.agreement) * (1 + texts_needed(self.max_drop / 100) / texts)
        return self.small.ms + min(1.0, handed_on) * self.large.ms


def most_pairs(context: SearchContext) -> int:
    """The most pairs that a search tries.

    It is 0 where no loss is allowed, where the metric is not accuracy, the only one a cascade's bound covers, or where
    the texts are too few to show any loss that is allowed.
    """
    max_drop = context.config.max_drop or 0.0
    if is_multi_label(context.data.task) or context.metric != "accuracy" or not _shown(max_drop, len(context.choosing)):
        return 0
    return _AT_MOST


def pairs(tries: Sequence[Try], goals: Goals, texts: int) -> list[Pair]:
    """Pairs of the front that promise to be faster than the best single model, the fastest first.

    There are none where no loss is allowed, or ``texts`` texts are too few to show that the loss is within the limit.
    """
    singles = [each for each in tries if not each.is_cascade]
    chosen = best(singles, goals)
    slowest_ms = chosen.ms if chosen else goals.latency_ms or math.inf
    candidates = [Pair(small, large, _left(goals, large)) for small, large in combinations(front(singles, goals), 2)]
    fitting = [pair for pair in candidates if _fits(pair, goals, texts) and pair.expected_ms(texts) < slowest_ms]
    return sorted(fitting, key=lambda pair: pair.expected_ms(texts))[:_AT_MOST]


def join(context: SearchContext, pair: Pair) -> None:
    """Write the cascade beside its two models.

    Raises:
        DoesNotPayError: one of the two serves as well by itself.
        NotShownError: the texts are too few to show so small a loss.
    """
    small, large, out = (context.tries / name for name in (pair.small.label, pair.large.label, pair.about.label))
    settings = {"seed": context.config.seed, "threads": context.config.threads, **_settings(pair.max_drop)}
    cascade(small, large, context.folder / "data", out, overwrite=True, **settings)


def steps_of(context: SearchContext, candidate: Callable[[str], Candidate], chosen: Try, tries: Sequence[Try]) -> Steps:
    """The steps that make the model of a try, a cascade's two models first; the last step writes it.

    ``candidate`` finds a candidate by its title.
    """
    if not chosen.is_cascade:
        return context.steps_of(candidate(chosen.candidate), chosen.epochs)
    made = {each.label: each for each in tries}
    parts = [steps_of(context, candidate, made[label], tries) for label in (chosen.small, chosen.large)]
    joined = {"step": "cascade", "small": chosen.small, "large": chosen.large, **_settings(chosen.max_drop)}
    return parts[0] | parts[1] | context.recipe({chosen.label: joined})


def _settings(max_drop: float) -> dict[str, float]:
    return {"max_drop": max_drop, "seconds": _SECONDS}


def _left(goals: Goals, large: Try) -> float:
    """The points that a cascade may still lose against ``large``, rounded down to hundredths."""
    return math.floor(100 * ((goals.max_drop or 0.0) - max(0.0, large.loss))) / 100


def _fits(pair: Pair, goals: Goals, texts: int) -> bool:
    """Whether the loss can be shown, and both models together keep to the size."""
    small = goals.megabytes is None or pair.small.megabytes + pair.large.megabytes <= goals.megabytes
    return small and _shown(pair.max_drop, texts)


def _shown(max_drop: float, texts: int) -> bool:
    """Whether ``texts`` texts can show a loss of at most ``max_drop`` points."""
    return 0 < max_drop < 100 and texts_needed(max_drop / 100) <= texts
