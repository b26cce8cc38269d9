"""95% intervals: of a share by Wilson's formula, of any metric by the bootstrap over texts."""

import numpy as np

from compress.evaluation.metrics import Floats

RESAMPLES = 4000

Interval = tuple[float, float]


def wilson_interval(share: float, texts: int) -> Interval:
    """The 95% interval of a share that was counted on this many texts (Wilson 1927)."""
    z = 1.959964
    middle, spread = share + z * z / (2 * texts), z * np.sqrt(share * (1 - share) / texts + (z / (2 * texts)) ** 2)
    whole = 1 + z * z / texts
    return max(0.0, float((middle - spread) / whole)), min(1.0, float((middle + spread) / whole))


def resampled_sums(counts: Floats, seed: int) -> Floats:
    """Column sums ``[RESAMPLES, k]`` of ``n`` rows drawn with replacement from ``counts`` ``[n, k]``.

    Texts with equal rows are interchangeable, so how often each distinct row is drawn is one multinomial draw.
    """
    rows, times = np.unique(counts, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=RESAMPLES)
    return np.asarray(draws @ rows)


def percentile_interval(values: Floats) -> Interval:
    """The middle 95% of resampled ``values`` ``[RESAMPLES]`` (Efron 1979)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
