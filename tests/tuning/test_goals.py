"""Goals: which model serves them better, and what is said when none does."""

from dataclasses import replace

import pytest

from compress.config import AutoConfig
from compress.errors import CompressError
from compress.evaluation.comparison import Agreement
from compress.tuning.goals import Figures, Goals, points
from compress.tuning.promise import Promise

MODELS = [Figures(0.2, 1.0, 20.0), Figures(0.9, 0.65, 15.0), Figures(1.8, 0.4, 12.0), Figures(6.0, 0.2, 9.0)]


@pytest.mark.parametrize(
    ("goals", "wanted"),
    [
        (Goals(1.0, None, None, 8.0), 1),
        (Goals(0.5, None, None, 8.0), 0),
        (Goals(None, 0.5, None, 8.0), 2),
        (Goals(None, None, 16.0, 8.0), 1),
        (Goals(2.0, None, 13.0, 8.0), 2),
    ],
)
def test_the_best_model(goals: Goals, wanted: int) -> None:
    assert min(MODELS, key=goals.rank) is MODELS[wanted]
    assert goals.met_by(MODELS[wanted])


def test_of_equally_fast_models_the_smaller_is_better() -> None:
    goals = Goals(1.0, None, None, 8.0)
    assert goals.rank(Figures(0.9, 0.601, 10.0)) < goals.rank(Figures(0.1, 0.6, 15.0))


def test_a_goal_that_nothing_meets_is_told_with_the_nearest() -> None:
    named = dict(zip(["whole", "half", "third", "tiny"], MODELS, strict=True))
    said = Goals(1.0, 8.0 / 20, None, 8.0).nearest(named)
    assert said.startswith("the fastest within 1 point is half, 12.3")
    assert "third, 20.0\N{MULTIPLICATION SIGN} (0.40 ms) at 12.0 MB, costs 1.8 points" in said
    assert "the smallest is 6.0 points, by tiny, " in Goals(None, None, 5.0, 8.0).nearest(named)
    assert "the least that is lost is 0.2 points, by whole, " in Goals(0.0, None, None, 8.0).nearest(named)


def test_a_rounding_error_is_not_a_loss() -> None:
    """Neither in what is chosen nor in what is said of it."""
    goals, found = Goals(0.3, 0.5, None, 8.0), Figures(0.1 + 0.2, 1.0, 20.0)
    assert replace(goals, latency_ms=None).met_by(found)
    assert "the fastest within 0.3 points is model" in goals.nearest({"model": found})
    change = Agreement(-0.08, (-0.09, -0.07), 0.9, 1.0, "accuracy", 0.9, 0.82, 9)
    assert change.drop_points_ci95[0] > 7.0
    assert Promise(change, 9).missed_words(7.0) == ""


@pytest.mark.parametrize(
    ("limit", "said"),
    [(1.0, "1 point"), (1.25, "1.25 points"), (12.5, "12.5 points"), (100.0, "100 points"), (1.04, "1.04 points")],
)
def test_a_limit_is_said_as_it_was_given(limit: float, said: str) -> None:
    assert points(limit) == said
    assert f"at most {said} lost" in str(Goals(limit, None, None, 8.0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs a goal: max_drop, target_latency_ms, speedup or max_megabytes"),
        ({"speedup": "5", "target_latency_ms": "1"}, "takes speedup or target_latency_ms, not both"),
        ({"speedup": "1"}, "auto.speedup must be above 1, got 1"),
        ({"max_drop": "-1"}, "auto.max_drop must be at least 0"),
    ],
)
def test_goals_that_contradict_or_are_none(given: dict[str, str], said: str) -> None:
    with pytest.raises(CompressError, match="auto") as refused:
        AutoConfig.parse(given)
    assert said in str(refused.value)
