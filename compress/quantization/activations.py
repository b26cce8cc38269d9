"""The two schemes to quantize activations, dynamic and static, as the accuracy gate needs them, and their speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import onnx

from compress.clock import Stopwatch
from compress.config import QuantizeConfig
from compress.progress import say
from compress.quantization.dynamic import QuantizationPlan, Rewrite, matmul_inputs, quantize_weights
from compress.quantization.ranges import RANGES
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.quantization.saturation import ObservedRange, observe, observed_plan, portable_plan
from compress.quantization.static import collect, quantize_qdq, quantize_static
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import encoded_logits

_ROUNDS = 3


@dataclass(frozen=True)
class ActivationScheme:
    """A scheme of quantizing activations, and the plans for weights that go with it."""

    kind: str  # dynamic or static
    rewrite: Rewrite
    observed: Mapping[str, ObservedRange]  # by weight: the uint8 activations that it is multiplied with on the sample
    plans: Mapping[str, QuantizationPlan]  # to try in order, by name
    range_method: str | None = None  # how the ranges of static activations were chosen


def scheme_of(
    kind: str,
    model: onnx.ModelProto,
    sample: ReferenceOutputs,
    calibration: Sequence[Encoding],
    config: QuantizeConfig,
    threads: int,
) -> ActivationScheme:
    """The scheme ``kind`` for the fp32 ``model``.

    Each method takes static ranges from the texts ``calibration``; the method is chosen on the ``sample``.
    """
    portable, method = portable_plan(model), None
    rewrite: Rewrite = quantize_weights
    if kind == "static":
        rewrite, observed, method = _static(model, portable, sample, calibration, config, threads)
    else:  # observed with the portable plan because it answers alike on every CPU
        observed = observe(model, portable, sample, threads)
    plans = {} if config.portable else {"all int8": observed_plan(model, observed)}
    plans |= {"all int8, in the portable range": portable}
    if config.embeddings == "int4":
        int4 = {f"int4 embeddings, else {name}": replace(plan, int4_words=True) for name, plan in plans.items()}
        plans = int4 | plans
    return ActivationScheme(kind, rewrite, observed, plans, method)


def _static(
    model: onnx.ModelProto,
    portable: QuantizationPlan,
    sample: ReferenceOutputs,
    calibration: Sequence[Encoding],
    config: QuantizeConfig,
    threads: int,
) -> tuple[Rewrite, dict[str, ObservedRange], str]:
    """The rewrite in the ranges that change the sample's logits least, the observed uint8, and the ranges' method."""
    calibrated = collect(model, sample.parent, calibration, threads)
    form = quantize_qdq if config.for_ else quantize_static
    changes, rewrites, ranges = {}, {}, {}
    for method, choose in RANGES.items():
        ranges[method] = {name: choose(statistics.histogram) for name, statistics in calibrated.items()}
        rewrites[method] = partial(form, ranges=ranges[method])
        candidate = Candidate(rewrites[method](model, portable), sample.parent, threads)
        changes[method] = float(np.sqrt(np.mean((encoded_logits(candidate, sample.encodings) - sample.logits) ** 2)))
    best = min(changes, key=changes.__getitem__)
    shown = ", ".join(f"{method} {change:.4f}" for method, change in changes.items())
    say(f"static activations in {best} ranges of {len(calibration):,} texts; logits change by (rms): {shown}")
    sampled = collect(model, sample.parent, sample.encodings, threads)
    observed = {weight: sampled[value].as_uint8(ranges[best][value]) for weight, value in matmul_inputs(model).items()}
    return rewrites[best], observed, best


def texts_per_s(graphs: Mapping[str, onnx.ModelProto], reference: ReferenceOutputs, threads: int) -> dict[str, float]:
    """Texts a second of each graph on the reference's texts, in the batches in which it will be served.

    The graphs take turns, in reverse order every other round, and only one is open at a time: the threads of two would
    spoil each other's times. The speed is by the median of three rounds.
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
