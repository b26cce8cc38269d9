"""The two ways to quantize activations, each with all that the accuracy gate needs of it, and which one is faster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import onnx

from compress.clock import Stopwatch
from compress.config import QuantizeConfig
from compress.progress import say
from compress.quantization.dynamic import QuantizationPlan, Rewrite, products, quantize_weights
from compress.quantization.ranges import RANGES
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.quantization.saturation import Reach, observe, observed_plan, portable_plan
from compress.quantization.static import collect, quantize_qdq, quantize_static
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import encoded_logits

_ROUNDS = 3


@dataclass(frozen=True)
class Way:
    """One way: ``dynamic`` or ``static``, the rewrite, and the uint8 activations that each weight meets on the sample.

    ``plans`` are the ranges of integers to try for the weights, by name; ``range_method`` is the name of how those of
    static activations were chosen.
    """

    kind: str
    rewrite: Rewrite
    reaches: Mapping[str, Reach]
    plans: Mapping[str, QuantizationPlan]
    range_method: str | None = None


def way_of(
    kind: str,
    model: onnx.ModelProto,
    sample: ReferenceOutputs,
    calibration: Sequence[Encoding],
    config: QuantizeConfig,
    threads: int,
) -> Way:
    """``kind`` for the fp32 ``model``: static ranges are of the texts ``calibration``, reaches of the ``sample``."""
    portable, method = portable_plan(model), None
    rewrite: Rewrite = quantize_weights
    if kind == "static":
        rewrite, reaches, method = _static(model, portable, sample, calibration, config, threads)
    else:  # observed with the portable plan because it answers alike on every CPU
        reaches = observe(model, portable, sample, threads)
    plans = {} if config.portable else {"all int8": observed_plan(model, reaches)}
    return Way(kind, rewrite, reaches, plans | {"all int8, in the portable range": portable}, method)


def _static(
    model: onnx.ModelProto,
    portable: QuantizationPlan,
    sample: ReferenceOutputs,
    calibration: Sequence[Encoding],
    config: QuantizeConfig,
    threads: int,
) -> tuple[Rewrite, dict[str, Reach], str]:
    """The rewrite with the ranges that change the sample's logits least, its reaches, and how they were chosen."""
    seen = collect(model, sample.parent, calibration, threads)
    form = quantize_qdq if config.for_ else quantize_static
    changes, rewrites, found = {}, {}, {}
    for method, choose in RANGES.items():
        found[method] = {name: choose(one.histogram) for name, one in seen.items()}
        rewrites[method] = partial(form, ranges=found[method])
        candidate = Candidate(rewrites[method](model, portable), sample.parent, threads)
        changes[method] = float(np.sqrt(np.mean((encoded_logits(candidate, sample.encodings) - sample.logits) ** 2)))
    best = min(changes, key=changes.__getitem__)
    shown = ", ".join(f"{method} {change:.4f}" for method, change in changes.items())
    say(f"static activations in {best} ranges of {len(calibration):,} texts; logits change by (rms): {shown}")
    met = collect(model, sample.parent, sample.encodings, threads)
    reaches = {weight: met[value].reach(found[best][value]) for weight, value in products(model).items()}
    return rewrites[best], reaches, best


def texts_per_s(graphs: Mapping[str, onnx.ModelProto], reference: ReferenceOutputs, threads: int) -> dict[str, float]:
    """How many of the reference's texts each graph answers a second, in the batches in which it will be served.

    They take turns, in reverse order every other round, and only one is open at a time: the threads of two would spoil
    each other's times. It is the median of three rounds.
    """
    seconds: dict[str, list[float]] = {kind: [] for kind in graphs}
    for number in range(_ROUNDS):
        for kind in sorted(graphs, reverse=bool(number % 2)):
            candidate = Candidate(graphs[kind], reference.parent, threads)
            encoded_logits(candidate, reference.encodings)
            watch = Stopwatch()
            encoded_logits(candidate, reference.encodings)
            seconds[kind].append(watch.seconds)
    return {kind: len(reference.encodings) / median(each) for kind, each in seconds.items()}
