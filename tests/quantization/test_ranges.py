"""Where activations lie: nothing is lost as the histogram grows, and each way to calibrate cuts what it should."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compress.quantization.ranges import BINS, RANGES, Histogram, Range, entropy_range, percentile_range

VALUES = arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e4, 1e4, width=16))


def gathered(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram = histogram.add(part.astype(np.float32))
    return histogram


@given(parts=st.lists(VALUES, min_size=1, max_size=5))
@example(parts=[np.full(1, 8192.0, np.float32), np.full(1, 8200.0, np.float32)])  # a power of two, as the ends are
@settings(max_examples=50, deadline=None)
def test_a_histogram_counts_every_value_whatever_came_first(parts: list[np.ndarray]) -> None:
    histogram, values = gathered(*parts), np.concatenate(parts)
    assert (histogram.low, histogram.high) == (min(0, values.min()), max(0, values.max()))
    assert np.abs(values).max() <= histogram.reach
    assert histogram.counts.sum() == len(values)
    for edge in (BINS // 4, BINS // 2, 3 * BINS // 4):  # exact there, though bins have been merged
        assert histogram.counts[:edge].sum() == (values < histogram.edges[edge]).sum()


def test_the_order_of_the_texts_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, 1000) for scale in (0.01, 1, 300)]
    assert np.array_equal(gathered(*parts).counts, gathered(*parts[::-1]).counts)


@given(values=VALUES, method=st.sampled_from(sorted(RANGES)))
@settings(max_examples=100, deadline=None)
def test_a_range_holds_zero_exactly_and_no_more_than_was_seen(values: np.ndarray, method: str) -> None:
    found = RANGES[method](gathered(values))
    assert min(0, values.min()) <= found.low <= 0 <= found.high <= max(0, values.max())
    assert found.scale > 0
    assert 0 <= int(found.zero) <= 255


@given(low=st.floats(-100, 0), high=st.floats(0, 100))
@settings(max_examples=50, deadline=None)
def test_the_ends_of_a_range_are_the_ends_of_uint8(low: float, high: float) -> None:
    found = Range(low, high)
    if high - low < 1e-20:
        return
    steps = [round(end / float(found.scale)) + int(found.zero) for end in (low, high)]
    assert np.abs(np.array(steps) - [0, 255]).max() <= 1


def test_percentile_cuts_both_tails_and_entropy_an_outlier() -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(0, 1, 200_000)
    found = percentile_range(gathered(normal), 99)
    assert (found.low, found.high) == pytest.approx((-2.576, 2.576), abs=0.03)
    whole = percentile_range(gathered(normal), 100)
    assert (whole.low, whole.high) == pytest.approx((normal.min(), normal.max()))
    outlier = gathered(normal, np.array([400.0]))  # in 255 steps from -5 to 400, all that is normal has 6
    for method in (percentile_range, entropy_range):
        cut = method(outlier)
        assert 2 < cut.high < 40
        assert -6 < cut.low < -2


def test_entropy_keeps_what_is_spread_evenly() -> None:
    even = gathered(np.linspace(-3, 5, 100_000))
    found = entropy_range(even)
    assert found.high > 4.9
    assert found.low == pytest.approx(-3)
