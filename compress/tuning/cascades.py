"""Two of the models that were tried, joined: a fast one that answers where it is sure, and a better one where not.

Nothing is trained for it. What a cascade may lose against its better model is bounded on the texts to choose by, by
``compress cascade`` itself, which writes nothing where it does not pay.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from compress.decisions.hand_on import texts_needed
from compress.steps.decisions import cascade
from compress.task import is_multi_label
from compress.tuning.candidates import Candidate, Steps
from compress.tuning.goals import Goals
from compress.tuning.ground import Ground
from compress.tuning.tries import Try, best, front

_AT_MOST = 3
# Texts, for each that the small model answers otherwise than the teacher does: a guess. It is up to twice as many where
# the texts can only just show that so little is lost, as then none of them may be answered wrongly.
_HANDED_ON = 1.5
_SECONDS = 1.0  # for the speed of each model; what is made is timed again, beside the others


@dataclass(frozen=True)
class Pair:
    """Two models, and the points that they may lose together against the large one by itself."""

    small: Try
    large: Try
    max_drop: float

    @property
    def about(self) -> Try:
        """The try of it, before anything is measured."""
        title = f"{self.small.label}-then-{self.large.label}-within-{self.max_drop:g}"
        return Try(title, 0, small=self.small.label, large=self.large.label, max_drop=self.max_drop)

    def expected_ms(self, texts: int) -> float:
        """About the mean time from a text to its answer, where the loss is shown on so many ``texts``."""
        handed_on = _HANDED_ON * (1 - self.small.agreement) * (1 + texts_needed(self.max_drop / 100) / texts)
        return self.small.ms + min(1.0, handed_on) * self.large.ms


def most_pairs(ground: Ground) -> int:
    """How many pairs a search tries at most.

    None where no loss is allowed for, or the loss is not told in accuracy, which a cascade's bound is of; or where the
    texts are too few to show any loss that is allowed.
    """
    max_drop = ground.config.max_drop or 0.0
    if is_multi_label(ground.data.task) or ground.metric != "accuracy" or not _shown(max_drop, len(ground.choosing)):
        return 0
    return _AT_MOST


def pairs(tries: Sequence[Try], goals: Goals, texts: int) -> list[Pair]:
    """Those of the front that promise to be faster than the best single model, the most promising first.

    Where no loss is allowed for, or ``texts`` are too few to show that it is kept to, there are none.
    """
    singles = [each for each in tries if not each.is_cascade]
    chosen = best(singles, goals)
    slowest_ms = chosen.ms if chosen else goals.latency_ms or math.inf
    models = front(singles, goals)
    every = [Pair(small, large, _left(goals, large)) for small, large in combinations(models, 2)]
    fitting = [pair for pair in every if _fits(pair, goals, texts) and pair.expected_ms(texts) < slowest_ms]
    return sorted(fitting, key=lambda pair: pair.expected_ms(texts))[:_AT_MOST]


def join(ground: Ground, pair: Pair) -> None:
    """Write the cascade beside its two models.

    Raises:
        DoesNotPayError, NotShownError: it is of no use, or cannot be shown to lose so little.
    """
    small, large, out = (ground.tries / name for name in (pair.small.label, pair.large.label, pair.about.label))
    settings = {"seed": ground.config.seed, "threads": ground.config.threads, **_settings(pair.max_drop)}
    cascade(small, large, ground.folder / "data", out, overwrite=True, **settings)


def steps_of(ground: Ground, candidate: Callable[[str], Candidate], chosen: Try, tries: Sequence[Try]) -> Steps:
    """All that make the model of a try, the last of which writes it; of a cascade, both of its models before.

    ``candidate`` is the one of a title.
    """
    if not chosen.is_cascade:
        return ground.steps_of(candidate(chosen.candidate), chosen.epochs)
    made = {each.label: each for each in tries}
    parts = [steps_of(ground, candidate, made[label], tries) for label in (chosen.small, chosen.large)]
    joined = {"step": "cascade", "small": chosen.small, "large": chosen.large, **_settings(chosen.max_drop)}
    return parts[0] | parts[1] | ground.recipe({chosen.label: joined})


def _settings(max_drop: float) -> dict[str, float]:
    return {"max_drop": max_drop, "seconds": _SECONDS}


def _left(goals: Goals, large: Try) -> float:
    """The points that are left to lose, in hundredths, where so many are lost by ``large`` already."""
    return math.floor(100 * ((goals.max_drop or 0.0) - max(0.0, large.loss))) / 100


def _fits(pair: Pair, goals: Goals, texts: int) -> bool:
    """Whether so small a loss can be shown, and both together are small enough."""
    small = goals.megabytes is None or pair.small.megabytes + pair.large.megabytes <= goals.megabytes
    return small and _shown(pair.max_drop, texts)


def _shown(max_drop: float, texts: int) -> bool:
    """Whether so many texts can show a loss of so few points."""
    return 0 < max_drop < 100 and texts_needed(max_drop / 100) <= texts
