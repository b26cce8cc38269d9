"""What is chosen to go: within the budget, spread over layers, least important first."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.modeling.widths import NEURON_BLOCK
from compress.pruning.importance import Importance
from compress.pruning.rounds import Budget, choose

shares = st.floats(0, 0.99)
layers = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.floats(1e-6, 1e3)), min_size=1, max_size=8)


def importance(widths: list[tuple[int, int, float]], seed: int) -> Importance:
    """Random scores; layers differ in size and in how much they matter."""
    rng = torch.Generator().manual_seed(seed)
    return Importance(
        [scale * torch.rand(heads, generator=rng, dtype=torch.float64) for heads, _, scale in widths],
        [scale * torch.rand(NEURON_BLOCK * blocks, generator=rng, dtype=torch.float64) for _, blocks, scale in widths],
    )


def budget(scores: Importance, heads: float, ffn: float) -> Budget:
    """What stays where these shares go."""
    units = (sum(map(len, of)) for of in (scores.heads, scores.neurons))
    return Budget(*(total - round(share * total) for total, share in zip(units, (heads, ffn), strict=True)))


@given(widths=layers, heads=shares, ffn=shares, seed=st.integers(0, 9))
def test_a_choice_keeps_to_its_rules(widths: list[tuple[int, int, float]], heads: float, ffn: float, seed: int) -> None:
    scores = importance(widths, seed)
    cut = choose(scores, budget(scores, heads, ffn))
    for units, kept, share, block in (
        (scores.heads, cut.heads, heads, 1),
        (scores.neurons, cut.neurons, ffn, NEURON_BLOCK),
    ):
        total, least = sum(map(len, units)), sum(min(block, len(layer)) for layer in units)
        most = total - round(share * total)
        assert max(least, most - block + 1) <= sum(map(len, kept)) <= max(least, most)
        for layer, chosen in zip(units, kept, strict=True):
            assert chosen == sorted(set(chosen))
            assert len(chosen) % block == 0
            assert len(chosen) >= min(block, len(layer))
            gone = sorted(set(range(len(layer))) - set(chosen))
            if chosen and gone:
                assert layer[chosen].min() >= layer[gone].max()


@given(widths=layers, share=shares, seed=st.integers(0, 9))
def test_layers_compete_no_head_goes_before_a_less_important_one(
    widths: list[tuple[int, int, float]], share: float, seed: int
) -> None:
    scores = importance(widths, seed).heads
    kept = choose(importance(widths, seed), budget(importance(widths, seed), share, 0.0)).heads
    spared = [float(layer[chosen].min()) for layer, chosen in zip(scores, kept, strict=True) if len(chosen) > 1]
    gone = [
        float(value)
        for layer, chosen in zip(scores, kept, strict=True)
        for index, value in enumerate(layer)
        if index not in chosen
    ]
    if spared and gone:
        assert min(spared) >= max(gone)


def test_an_unimportant_layer_gives_more() -> None:
    scores = Importance([torch.full((4,), value) for value in (1.0, 0.1, 1.0)], [torch.ones(64)] * 3)
    cut = choose(scores, budget(scores, 0.25, 0.0))
    assert list(map(len, cut.heads)) == [4, 1, 4]
    assert list(map(len, cut.neurons)) == [64, 64, 64]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_shares_are_of_the_whole_model(share: float) -> None:
    scores = importance([(12, 96, 1.0)] * 6, seed=0)
    cut = choose(scores, budget(scores, share, share))
    assert sum(map(len, cut.heads)) == max(6, 72 - round(72 * share))
    left = sum(map(len, cut.neurons)) / (6 * 96 * NEURON_BLOCK)
    assert left == pytest.approx(1 - share, abs=0.01)
