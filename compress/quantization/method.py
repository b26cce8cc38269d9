"""The two ways to int8: activations scaled anew for each text, or in ranges that are fixed on real texts."""

from collections.abc import Callable
from functools import partial

import onnx

from compress.evaluation.agreement import ReferenceOutputs
from compress.quantization.activations import collect, products, ranges
from compress.quantization.dynamic import QuantizationPlan, quantize_weights
from compress.quantization.saturation import Reach, observe
from compress.quantization.static import quantize_static

Rewrite = Callable[[onnx.ModelProto, QuantizationPlan], onnx.ModelProto]


def choose_rewrite(
    model: onnx.ModelProto, calibrate: str | None, portable: QuantizationPlan, reference: ReferenceOutputs, threads: int
) -> tuple[Rewrite, dict[str, Reach]]:
    """How to quantize, and the uint8 activations that each weight then meets on the exam's texts.

    Args:
        model: the fp32 model.
        calibrate: ``percentile`` or ``entropy`` for static ranges; None for dynamic ones.
        portable: a plan that answers alike on every CPU, to observe dynamic activations with.
        reference: the texts.
        threads: CPU threads.
    """
    if calibrate is None:
        return quantize_weights, observe(model, portable, reference, threads)
    seen = collect(model, reference.parent, reference.encodings, threads)
    found = ranges(seen, calibrate)
    reaches = {weight: seen[value].reach(found[value]) for weight, value in products(model).items()}
    return partial(quantize_static, ranges=found), reaches
