"""The bound on what a cascade loses: its test is exact, and it holds in simulations."""

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

from compress.decisions.hand_on import choose_hand_on, drop_bound, p_value, texts_needed
from compress.errors import CompressError


def test_a_loss_above_the_limit_passes_in_at_most_5_of_100_samples() -> None:
    """Summed over every sample of 60 texts there is, at the loss that is hardest to tell from an allowed one."""
    texts, max_drop = 60, 0.05
    lost, won = (each.ravel() for each in np.mgrid[: texts + 1, : texts + 1])
    possible = lost + won <= texts
    lost, won = lost[possible], won[possible]
    near = (lost < 12) & (won < 30)  # a thousand times likelier than all other samples that could pass
    passes = near & (np.array([near_one and p_value(int(b), int(c), texts, max_drop) <= 0.05
                               for near_one, b, c in zip(near, lost, won, strict=True)]))  # fmt: skip
    samples = np.stack([lost, won, texts - lost - won], axis=1)
    for share_won in np.linspace(0, 0.15, 16):
        shares = [share_won + max_drop, share_won, 1 - 2 * share_won - max_drop]
        assert multinomial.pmf(samples[passes], texts, shares).sum() <= 0.05
    assert p_value(0, 1, texts, max_drop) < p_value(0, 0, texts, max_drop) < p_value(1, 0, texts, max_drop)


@pytest.mark.parametrize("max_drop", [0.003, 0.01, 0.05])
def test_the_number_of_texts_is_the_least_that_can_show_the_bound(max_drop: float) -> None:
    needed = texts_needed(max_drop)
    assert p_value(0, 0, needed, max_drop) <= 0.05 < p_value(0, 0, needed - 1, max_drop)
    assert drop_bound(0, 0, needed) == pytest.approx(max_drop, rel=0.01)


def test_the_stated_loss_holds_in_at_least_95_of_100_simulations() -> None:
    """Of a small model that is the worse the less sure it is, and now and then right where the large one is wrong."""
    rng, texts, max_drop = np.random.default_rng(0), 300, 0.03
    scores = 1 - 10.0 ** -np.linspace(0, 4, 20_001)
    lost, won = 0.02 + 0.4 * (1 - scores), np.full_like(scores, 0.01)
    held, shares = [], []
    for _ in range(200):
        drawn = rng.integers(0, len(scores), texts)
        chance = rng.random(texts)
        only_large, only_small = chance < lost[drawn], chance > 1 - won[drawn]
        found = choose_hand_on(scores[drawn], ~only_large, ~only_small, max_drop)
        kept = scores >= found.hand_on_below
        held.append(float((kept * (lost - won)).mean()) <= max_drop)
        shares.append(found.handed_on)
    assert binomtest(sum(held), len(held), 0.95, alternative="less").pvalue > 0.05  # at least 95, but for chance
    assert np.mean(shares) < 0.9  # and not because it hands nearly everything on


def test_a_loss_that_no_score_rules_out_is_told() -> None:
    """A small model that is as sure as can be, and often wrong."""
    scores, right = np.ones(1200), np.arange(1200) % 20 > 0
    with pytest.raises(CompressError, match=r"max_drop 1 cannot be shown.*may be 6\.\d+ points"):
        choose_hand_on(scores, right, np.ones(1200, dtype=np.bool_), 0.01)
    found = choose_hand_on(scores, right, right, 0.01)
    assert (found.hand_on_below, found.handed_on, found.drop) == (0.0, 0.0, 0.0)
