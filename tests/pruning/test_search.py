"""The search is exact: as good as trying everything, never over the budget, and deep or narrow as the table says."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.clock import Stopwatch
from compress.latency.table import LatencyTable
from compress.modeling.widths import NEURON_BLOCK, Cut, Widths
from compress.pruning.importance import Importance
from compress.pruning.search import OutOfReachError, search

_SLACK = 0.001  # of the whole latency: what rounding up each of a few layers can cost


def random_importance(widths: list[tuple[int, int]], seed: int) -> Importance:
    rng = torch.Generator().manual_seed(seed)
    return Importance(
        [torch.rand(heads, generator=rng, dtype=torch.float64) ** 4 for heads, _ in widths],
        [torch.rand(NEURON_BLOCK * blocks, generator=rng, dtype=torch.float64) ** 4 / 20 for _, blocks in widths],
    )


def random_table(heads: int, neurons: int, seed: int) -> LatencyTable:
    """Rising costs; a layer, a head and a neuron cost anything."""
    rng = np.random.default_rng(seed)

    def rising(count: int, first: float) -> np.ndarray:
        return first + np.concatenate([[0.0], np.cumsum(rng.random(count) ** 2)]) / max(count, 1)

    return LatencyTable(
        float(rng.random()),
        rising(heads, float(rng.random())),
        rising(neurons, 0.0),
        rising(heads, 0.0) / 2,
        rising(neurons, 0.0) / 2,
    )


def widths_of(cut: Cut) -> Widths:
    return Widths(tuple(map(len, cut.heads)), tuple(map(len, cut.neurons)))


def kept_by(importance: Importance, cut: Cut) -> float:
    units = zip(importance.heads + importance.neurons, cut.heads + cut.neurons, strict=True)
    return sum(float(scores[kept].sum()) for scores, kept in units)


def best_of_all(importance: Importance, table: LatencyTable, budget_ms: float) -> float:
    """The most importance that any widths keep within the budget; -1 where none fit it."""
    shapes = [
        list(product(range(len(scores) + 1), range(0, len(others) + 1, NEURON_BLOCK)))
        for scores, others in zip(importance.heads, importance.neurons, strict=True)
    ]
    best = -1.0
    for shape in product(*shapes):
        widths = Widths(*zip(*shape, strict=True))
        if widths.inhabited.heads and table.latency_ms(widths) <= budget_ms:
            kept = sum(
                float(scores.sort(descending=True).values[:count].sum())
                for scores, count in zip(
                    importance.heads + importance.neurons, widths.heads + widths.neurons, strict=True
                )
            )
            best = max(best, kept)
    return best


shapes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=3).filter(
    lambda widths: any(map(any, widths))
)


@settings(max_examples=60, deadline=None)
@given(widths=shapes, share=st.floats(0, 1.1), seed=st.integers(0, 99))
def test_the_search_is_as_good_as_trying_everything(widths: list[tuple[int, int]], share: float, seed: int) -> None:
    importance = random_importance(widths, seed)
    table = random_table(max(heads for heads, _ in widths), NEURON_BLOCK * max(blocks for _, blocks in widths), seed)
    whole_ms = table.latency_ms(
        Widths(*zip(*((heads, NEURON_BLOCK * blocks) for heads, blocks in widths), strict=True))
    )
    budget_ms = share * whole_ms
    at_least = best_of_all(importance, table, budget_ms - _SLACK * whole_ms)
    at_most = best_of_all(importance, table, budget_ms)
    try:
        cut = search(importance, table, budget_ms)
    except OutOfReachError as error:
        assert at_least == -1
        assert error.fastest_ms > budget_ms
        assert best_of_all(importance, table, error.fastest_ms * (1 + _SLACK)) >= 0
        return
    assert table.latency_ms(widths_of(cut)) <= budget_ms
    assert at_least - 1e-9 <= kept_by(importance, cut) <= at_most + 1e-9


@settings(max_examples=30, deadline=None)
@given(one=st.floats(0.2, 1), other=st.floats(0.2, 1), seed=st.integers(0, 99))
def test_more_latency_never_keeps_less(one: float, other: float, seed: int) -> None:
    importance = random_importance([(6, 8)] * 4, seed)
    table = random_table(6, 8 * NEURON_BLOCK, seed)
    whole_ms = table.latency_ms(Widths.even(4, 6, 8 * NEURON_BLOCK))
    kept = []
    for share in sorted((one, other)):
        try:
            cut = search(importance, table, share * whole_ms)
            assert table.latency_ms(widths_of(cut)) <= share * whole_ms
            kept.append(kept_by(importance, cut))
        except OutOfReachError:
            kept.append(-1.0)
    assert kept[0] <= kept[1] + 1e-9


def table_where(layer: float, width: float, layers: int = 6) -> LatencyTable:
    """A layer costs ``layer`` by being there and ``width`` more when it is whole."""
    heads, neurons = np.linspace(0, width / 2, 13), np.linspace(0, width / 2, 1537)
    return LatencyTable(0.1 / layers, layer + heads, neurons, layer + heads, neurons)


def test_whole_layers_go_where_width_does_not_pay_and_none_where_it_does() -> None:
    importance = random_importance([(12, 48)] * 6, seed=0)
    for layer, width, deep in ((1.0, 0.02, True), (0.0, 1.0, False)):
        table = table_where(layer, width)
        budget_ms = table.latency_ms(Widths.even(6, 12, 1536)) * 0.51
        found = widths_of(search(importance, table, budget_ms)).inhabited
        if deep:
            assert found == Widths.even(len(found.heads), 12, 1536)
            assert len(found.heads) < 6
        else:
            assert len(found.heads) == 6
            assert max(found.neurons) < 1536


def test_the_least_important_layers_go() -> None:
    scores = random_importance([(4, 2)] * 4, seed=1)
    scale = (1.0, 0.01, 1.0, 0.001)
    importance = Importance(
        [factor * heads for factor, heads in zip(scale, scores.heads, strict=True)],
        [factor * neurons for factor, neurons in zip(scale, scores.neurons, strict=True)],
    )
    table = table_where(1.0, 0.0)
    found = widths_of(search(importance, table, 2.2))
    assert [bool(heads) for heads in found.heads] == [True, False, True, False]


def test_the_kept_units_are_the_most_important_and_cost_no_more_than_they_must() -> None:
    importance = random_importance([(12, 8)] * 3, seed=2)
    cut = search(importance, table_where(0.1, 1.0), 1.5)
    for scores, kept in zip(importance.heads + importance.neurons, cut.heads + cut.neurons, strict=True):
        gone = sorted(set(range(len(scores))) - set(kept))
        assert kept == sorted(kept)
        if kept and gone:
            assert scores[kept].min() >= scores[gone].max()
    free = search(importance, table_where(0.0, 0.0), 1.0)
    assert [len(kept) for kept in free.neurons] == [8 * NEURON_BLOCK] * 3


def test_the_time_of_a_search_grows_with_the_layers_not_with_their_combinations() -> None:
    """Every layer has 1,261 options: with 12 layers, trying all takes 10^27 times as long as with 3."""

    def seconds_for(layers: int) -> float:
        importance, table = random_importance([(12, 96)] * layers, seed=3), random_table(12, 3072, seed=3)
        watch = Stopwatch()
        search(importance, table, table.latency_ms(Widths.even(layers, 12, 3072)) / 2)
        seconds = watch.seconds
        with pytest.raises(OutOfReachError):
            search(importance, table, table.base_ms)
        return seconds

    seconds_for(1)  # whatever is set up once
    assert seconds_for(12) < 100 * seconds_for(3)
