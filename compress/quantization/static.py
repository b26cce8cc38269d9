"""Static int8: 8-bit weights, and activations in ranges that are fixed beforehand from real texts.

The products' inputs are counted in histograms (``collect``), a range of each is chosen (``ranges``), and the graph
rewritten (``quantize_static``). Rules of the rewrite:
1. ``MatMul(x, constant W)`` becomes ``MatMul(x', W')``: ``x'`` is x through ``QuantizeLinear`` to uint8 in its range
   and ``DequantizeLinear`` back, once for all products that read x; ``W'`` is int8, symmetric by column, through
   ``DequantizeLinear``. Runtimes that know the pattern (OpenVINO, TensorRT, ONNX Runtime) compute it in integers.
2. The word table and the weights that stay fp32 are as in the dynamic rewrite.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from compress.graph.writer import WORDS, Constants
from compress.progress import progress
from compress.quantization.dynamic import QuantizationPlan, quantizable, replace_products
from compress.quantization.reference import Candidate
from compress.quantization.saturation import Reach
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Predictor, encoded_logits

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
    """Counts of values from ``-reach`` to ``reach`` in bins of equal width.

    ``reach`` is a power of two and doubles when a larger value comes: two bins become one, and no count is lost.
    """

    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    reach: float = 2.0**-60
    low: float = 0.0
    high: float = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> "Histogram":
        """This one and ``values``, of any shape."""
        low, high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        counts, reach = self.counts, self.reach
        while reach < max(-low, high):
            counts, reach = np.pad(counts.reshape(-1, 2).sum(axis=1), BINS // 4), 2 * reach
        places = np.floor(values.ravel() * np.float32(BINS // 2 / reach)).astype(np.int64) + BINS // 2
        return Histogram(counts + np.bincount(places.clip(0, BINS - 1), minlength=BINS), reach, low, high)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """The bins' ends, ``[BINS + 1]``."""
        return np.linspace(-self.reach, self.reach, BINS + 1)


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> Range:
    """All but the outermost values: of those outside ``percentile``, half are cut at each end."""
    shares = histogram.counts.cumsum() / max(1, histogram.counts.sum())
    tail = (1 - percentile / 100) / 2
    low = histogram.edges[int(np.searchsorted(shares, tail, side="right"))]
    high = histogram.edges[min(BINS - 1, int(np.searchsorted(shares, 1 - tail))) + 1]
    return _within(histogram, low, high)


def entropy_range(histogram: Histogram) -> Range:
    """The clipping of large values that keeps most information.

    Of all thresholds on the magnitude it takes the one with the smallest KL divergence of the clipped distribution from
    itself in 8 bits (Migacz 2017, "8-bit Inference with TensorRT"); larger values count as lying at the threshold.
    """
    half = BINS // 2
    magnitudes = histogram.counts[half:] + histogram.counts[:half][::-1]
    used = int(np.flatnonzero(magnitudes)[-1]) + 1 if magnitudes.any() else 0
    candidates = [*range(_FEWEST_BINS, used, _STRIDE), used] if used > _FEWEST_BINS else [used]
    width = histogram.reach / half

    def covered(bins: int) -> Range:
        return _within(histogram, -bins * width, bins * width)

    def lost(bins: int) -> float:
        found = covered(bins)
        levels = max(2, round(max(-found.low, found.high) / float(found.scale)))
        return _divergence(magnitudes[:bins], int(magnitudes[bins:].sum()), levels)

    return covered(min(candidates, key=lost) if len(candidates) > 1 else candidates[0])


def _divergence(counts: Counts, beyond: int, levels: int) -> float:
    """KL divergence in nats of ``counts``, with ``beyond`` more in the last bin, from them in ``levels`` levels."""
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
    """Cut to the values that were seen; 0 is always covered."""
    return Range(min(0.0, max(float(low), histogram.low)), max(0.0, min(float(high), histogram.high)))


RANGES = {"percentile": percentile_range, "entropy": entropy_range}


@dataclass(frozen=True)
class Activation:
    """One value that products read, over all texts: its numbers, and the smallest and largest in each column."""

    histogram: Histogram
    low: npt.NDArray[np.float32]  # [columns], which meet the rows of a weight
    high: npt.NDArray[np.float32]

    def reach(self, covered: Range) -> Reach:
        """The smallest and largest uint8 of each column under ``covered``."""
        steps = (np.rint(end / covered.scale) + int(covered.zero) for end in (self.low, self.high))
        low, high = (step.clip(0, 255).astype(np.int64) for step in steps)
        return Reach(low, high)


def products(model: onnx.ModelProto) -> dict[str, str]:
    """The value that each weight of an fp32 model of ours is multiplied with, by the weight's name."""
    weights = quantizable(model).keys() - {WORDS}
    nodes = (node for node in model.graph.node if node.op_type == "MatMul")
    return {node.input[1]: node.input[0] for node in nodes if node.input[1] in weights}


def collect(
    model: onnx.ModelProto, parent: Predictor, encodings: Sequence[Encoding], threads: int
) -> dict[str, Activation]:
    """Run the fp32 ``model`` on each text alone; returns what its products read, by the value's name."""
    names = list(dict.fromkeys(products(model).values()))
    seen: dict[str, Activation] = {}

    def add(arrays: Sequence[npt.NDArray[Any]]) -> None:
        for name, array in zip(names, arrays, strict=True):
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            before = seen.get(name, Activation(Histogram(), low, high))
            seen[name] = Activation(
                before.histogram.add(array), np.minimum(before.low, low), np.maximum(before.high, high)
            )

    with progress("activations", len(encodings)) as advance:
        encoded_logits(Candidate(model, parent, threads, names, add), encodings, advance)
    return seen


def ranges(seen: Mapping[str, Activation], method: str) -> dict[str, Range]:
    """The range of each value by ``percentile`` or ``entropy``."""
    return {name: RANGES[method](activation.histogram) for name, activation in seen.items()}


def quantize_static(model: onnx.ModelProto, plan: QuantizationPlan, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """A copy of an fp32 model of ours in static int8; ``ranges`` are of what products read. Stock operators only."""

    def quantize(value: str, constants: Constants) -> Iterator[onnx.NodeProto]:
        integers, scale, zero = f"{value}.uint8", f"{value}.uint8_scale", f"{value}.uint8_zero"
        constants[scale], constants[zero] = np.array(ranges[value].scale), np.array(ranges[value].zero)
        yield helper.make_node("QuantizeLinear", [value, scale, zero], [integers], name=integers)
        rounded = f"{value}.rounded"
        yield helper.make_node("DequantizeLinear", [integers, scale, zero], [rounded], name=rounded)

    return replace_products(model, plan, quantize, _multiply)


def _multiply(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    value, weight = node.input
    floats = f"{weight}.float"
    yield helper.make_node("DequantizeLinear", [f"{weight}.int8", f"{weight}.scale"], [floats], name=floats, axis=1)
    yield helper.make_node("MatMul", [f"{value}.rounded", floats], node.output, name=node.name)
