"""Which of the models that were tried are joined."""

from dataclasses import replace

import numpy as np

from compress.decisions.hand_on import texts_needed
from compress.tuning.cascades import pairs
from compress.tuning.goals import Goals
from compress.tuning.tries import Try, best, front


def test_pairs_may_beat_the_best_single_model_within_the_goals_and_what_can_be_shown() -> None:
    rng, found, of_one_small = np.random.default_rng(0), 0, 0
    for _ in range(60):
        losses = np.concatenate([[0.0], rng.exponential(2.0, 8)])
        tries = [
            Try(
                *(f"layers-{number}", 9),
                loss=loss,
                agreement=1 - loss / 60,
                ms=4.0 / (1 + loss) * rng.uniform(0.5, 1.0),
                megabytes=20.0 / (1 + loss),
            )
            for number, loss in enumerate(losses.tolist())
        ]
        goals = Goals(float(rng.uniform(0.3, 3.0)), None, float(rng.uniform(5, 50)), 8.0)
        texts, single = int(rng.integers(100, 3000)), best(tries, goals)
        some = pairs(tries, goals, texts)
        found += len(some)
        of_one_small += len(some) - len({each.small for each in some})
        assert len(some) <= 3
        expected_ms = [each.expected_ms(texts) for each in some]
        assert expected_ms == sorted(expected_ms)
        for pair in some:
            assert pair.small.ms < pair.large.ms
            assert single is None or pair.small.ms < pair.expected_ms(texts) < single.ms
            assert {pair.small.label, pair.large.label} <= {each.label for each in front(tries, goals)}
            assert pair.small.megabytes + pair.large.megabytes <= (goals.megabytes or 0)
            assert pair.large.loss + pair.max_drop <= (goals.max_drop or 0)
            assert texts_needed(pair.max_drop / 100) <= texts
        assert not pairs(tries, replace(goals, max_drop=None), texts)
        joined = [replace(pair.about, loss=0.1, agreement=1.0, ms=0.01, megabytes=0.1) for pair in some]
        assert pairs([*tries, *joined], goals, texts) == some
    assert found > 15
    assert of_one_small > 0  # no large model hides another


def test_of_two_that_seem_as_fast_the_one_with_more_points_left_comes_first() -> None:
    small = Try("layers-1", 9, loss=4.0, agreement=0.95, ms=1.0, megabytes=5.0)
    near, far = (Try(name, 9, loss=loss, ms=ms) for name, loss, ms in (("layers-4", 0.6, 4.0), ("layers-6", 0.0, 4.1)))
    tries = [small, near, far]
    assert [pair.large for pair in pairs(tries, Goals(1.0, None, None, 8.0), 1000)] == [far, near]
    assert [pair.large for pair in pairs(tries, Goals(1.0, None, None, 8.0), 500)] == [far]  # 0.4 points need 753
