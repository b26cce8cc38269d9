"""A search that takes moments: few candidates, short trainings, no cascades, and times that need not be exact."""

from collections.abc import Collection

import pytest

from compress.benchmark import interleave
from compress.tuning import candidates, ending, judge, planner
from compress.workers import timing


def search_little(patch: pytest.MonkeyPatch, names: Collection[str], full_epochs: int) -> None:
    """Try only the candidates of these names, for so many epochs at most."""
    every = candidates.candidates_of
    patch.setattr(planner, "candidates_of", lambda *given: [each for each in every(*given) if each.name in names])
    patch.setattr(planner, "full_epochs", lambda _: full_epochs)
    patch.setattr("compress.tuning.auto.pairs", lambda *_: [])
    patch.setattr(timing, "_UNTIMED_S", 0.0)
    patch.setattr(judge, "_BUDGET_S", 0.02)
    patch.setattr(interleave, "_ROUNDS_AT_LEAST", 2)
    patch.setattr(ending, "_SECONDS", 0.02)
    patch.setattr(ending, "_MOST_MEASURED", 1)
