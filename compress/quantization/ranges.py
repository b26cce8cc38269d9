"""Ranges of static activations: which numbers their 256 steps stand for, chosen by the values seen on real texts."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BINS = 4096
PERCENTILE = 99.99
_LEVELS = 256
_FEWEST_BINS = 128  # entropy calibration does not clip to less than this share of the histogram
_STRIDE = 8

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Range:
    """The numbers that uint8 stands for: ``low`` is 0, ``high`` is 255, and the number 0 is one of the steps."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """The size of a step; 1 for values that are always 0."""
        return np.float32((self.high - self.low) / (_LEVELS - 1) or 1)

    @property
    def zero(self) -> np.uint8:
        """The integer that stands for 0."""
        return np.uint8(round(-self.low / float(self.scale)))


@dataclass(frozen=True)
class Histogram:
    """Counts of values from ``-reach`` to below ``reach`` in bins of equal width.

    ``reach`` is a power of two and doubles when a larger value comes: two bins become one, and no count is lost.
    """

    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    reach: float = 2.0**-60
    low: float = 0.0
    high: float = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> "Histogram":
        """A histogram of these values and ``values``, an array of any shape."""
        low, high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        counts, reach = self.counts, self.reach
        while reach < -low or reach <= high:
            counts, reach = np.pad(counts.reshape(-1, 2).sum(axis=1), BINS // 4), 2 * reach
        places = np.floor(values.ravel() * np.float32(BINS // 2 / reach)).astype(np.int64) + BINS // 2
        return Histogram(counts + np.bincount(places.clip(0, BINS - 1), minlength=BINS), reach, low, high)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """The bins' ends, ``[BINS + 1]``."""
        return np.linspace(-self.reach, self.reach, BINS + 1)


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> Range:
    """The range of all but the outermost values: of those outside ``percentile``, half are cut at each end."""
    shares = histogram.counts.cumsum() / max(1, histogram.counts.sum())
    tail = (1 - percentile / 100) / 2
    low = histogram.edges[int(np.searchsorted(shares, tail, side="right"))]
    high = histogram.edges[min(BINS - 1, int(np.searchsorted(shares, 1 - tail))) + 1]
    return _within(histogram, low, high)


def entropy_range(histogram: Histogram) -> Range:
    """The range whose clipping of large values keeps most information (Migacz 2017, "8-bit Inference with TensorRT").

    It is the threshold on the magnitude with the smallest KL divergence of the clipped distribution from the same in
    8 bits; larger values count as lying at the threshold.
    """
    half = BINS // 2
    magnitudes = histogram.counts[half:] + histogram.counts[:half][::-1]
    used = int(np.flatnonzero(magnitudes)[-1]) + 1 if magnitudes.any() else 0
    candidates = [*range(_FEWEST_BINS, used, _STRIDE), used] if used > _FEWEST_BINS else [used]
    width = histogram.reach / half

    def clipped(bins: int) -> Range:
        return _within(histogram, -bins * width, bins * width)

    def lost(bins: int) -> float:
        candidate = clipped(bins)
        levels = max(2, round(max(-candidate.low, candidate.high) / float(candidate.scale)))
        return _divergence(magnitudes[:bins], int(magnitudes[bins:].sum()), levels)

    return clipped(min(candidates, key=lost) if len(candidates) > 1 else candidates[0])


def _divergence(counts: Counts, beyond: int, levels: int) -> float:
    """KL divergence in nats of ``counts``, with ``beyond`` more in the last bin, from them merged into ``levels``."""
    bins = len(counts)
    reference = counts.astype(np.float64)
    reference[-1] += beyond
    level = np.arange(bins) * levels // bins if bins > levels else np.arange(bins)
    filled = counts > 0
    sums, sizes = (np.bincount(level, weights=each) for each in (counts, filled))
    spread = np.where(filled, (sums / np.maximum(sizes, 1))[level], 0.0)
    p, q = reference / max(1.0, reference.sum()), spread / max(1.0, spread.sum())
    shared = (p > 0) & (q > 0)
    missed = p[(p > 0) & (q == 0)].sum()  # the threshold's own bin was empty before the rest fell into it
    return float((p[shared] * np.log(p[shared] / q[shared])).sum() + missed * np.log(1e12))


def _within(histogram: Histogram, low: float, high: float) -> Range:
    """The range from ``low`` to ``high``, cut to the values that were seen; 0 is always covered."""
    return Range(min(0.0, max(float(low), histogram.low)), max(0.0, min(float(high), histogram.high)))


def full_range(histogram: Histogram) -> Range:
    """The range of all values that were seen."""
    return Range(histogram.low, histogram.high)


RANGES = {"percentile": percentile_range, "entropy": entropy_range, "min-max": full_range}
