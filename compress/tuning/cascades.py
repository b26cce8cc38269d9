"""Two of the models that were tried, joined: a fast one that answers where it is sure, and a better one where not.

Nothing is trained for it. What a cascade may lose against its better model is bounded on the texts to choose by, by
``compress cascade`` itself, which writes nothing where it does not pay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from compress.decisions.hand_on import texts_needed
from compress.steps.decisions import cascade
from compress.tuning.candidates import Steps
from compress.tuning.goals import Goals
from compress.tuning.ground import Ground
from compress.tuning.planner import Planner
from compress.tuning.search import Try, best, front

_AT_MOST = 3
_HANDED_ON = 2.0  # texts, for each that the small model answers otherwise than the teacher does: a guess
_THEN, _WITHIN = "-then-", "-within-"
_SECONDS = 1.0  # for the speed of each model; what is made is timed again, beside the others


@dataclass(frozen=True)
class Pair:
    """Two models, and the points that they may lose together against the large one by itself."""

    small: Try
    large: Try
    max_drop: float

    @property
    def title(self) -> str:
        """The name of the cascade, under which its try is known."""
        return f"{self.small.label}{_THEN}{self.large.label}{_WITHIN}{self.max_drop:g}"

    @property
    def expected_ms(self) -> float:
        """About the mean time from a text to its answer."""
        return self.small.ms + min(1.0, _HANDED_ON * (1 - self.small.agreement)) * self.large.ms


def pairs(tries: Sequence[Try], goals: Goals, texts: int) -> list[Pair]:
    """Those of the front that promise to be faster than the best single model, the most promising first.

    Where no loss is allowed for, or ``texts`` are too few to show that it is kept to, there are none.
    """
    singles = [each for each in tries if _THEN not in each.candidate]
    chosen = best(singles, goals)
    slowest_ms = chosen.ms if chosen else goals.latency_ms or math.inf
    found = []
    for small in front(singles):
        options = [Pair(small, large, _left(goals, large)) for large in front(singles) if large.ms > small.ms]
        fitting = [pair for pair in options if _fits(pair, goals, texts) and pair.expected_ms < slowest_ms]
        found += sorted(fitting, key=lambda pair: pair.expected_ms)[:1]
    return sorted(found, key=lambda pair: pair.expected_ms)[:_AT_MOST]


def join(ground: Ground, pair: Pair) -> None:
    """Write the cascade beside its two models.

    Raises:
        CompressError: it does not pay, or cannot be shown to lose so little.
    """
    small, large, out = (ground.tries / name for name in (pair.small.label, pair.large.label, pair.title))
    settings = {"seed": ground.config.seed, "threads": ground.config.threads, **_settings(pair.max_drop)}
    cascade(small, large, ground.folder / "data", out, overwrite=True, **settings)


def steps_of(ground: Ground, planner: Planner, chosen: Try, tries: Sequence[Try]) -> Steps:
    """All that make the model of a try, the last of which writes it; of a cascade, both of its models before."""
    small, then, rest = chosen.candidate.partition(_THEN)
    if not then:
        return ground.steps_of(planner.candidate(chosen.candidate), chosen.epochs)
    large, _, max_drop = rest.rpartition(_WITHIN)
    made = {each.label: each for each in tries}
    parts = [steps_of(ground, planner, made[label], tries) for label in (small, large)]
    joined = {"step": "cascade", "small": small, "large": large, **_settings(float(max_drop))}
    return parts[0] | parts[1] | ground.recipe({chosen.label: joined})


def _settings(max_drop: float) -> dict[str, float]:
    return {"max_drop": max_drop, "seconds": _SECONDS}


def _left(goals: Goals, large: Try) -> float:
    """The points that are left to lose, in hundredths, where so many are lost by ``large`` already."""
    return math.floor(100 * ((goals.max_drop or 0.0) - max(0.0, large.loss))) / 100


def _fits(pair: Pair, goals: Goals, texts: int) -> bool:
    """Whether so small a loss can be shown, and both together are small enough."""
    small = goals.megabytes is None or pair.small.megabytes + pair.large.megabytes <= goals.megabytes
    return small and 0 < pair.max_drop < 100 and texts_needed(pair.max_drop / 100) <= texts
