"""Quantize as much as the validation texts allow: attempts in order, the smallest graph first, until one passes.

1. All weights in int8, by column; columns that could saturate without VNNI on these texts in a smaller range.
2. All weights in the smaller range that nothing can saturate (with ``--portable`` the only range).
3. The most sensitive weights in fp32: the first, the first 2, 4, 8, ..., and at last half of them; the rest as in 1.

A scale for the whole matrix, or 7 bits for all of it, is not tried: each is one of these, only coarser.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from compress.config import QuantizeConfig
from compress.errors import CompressError
from compress.evaluation.comparison import Agreement
from compress.evaluation.metrics import predictions
from compress.progress import progress, say
from compress.quantization.dynamic import QuantizationPlan, Rewrite, quantizable, quantize_weights
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.quantization.saturation import Reach, SaturationRisk, count_risk, observe, observed_plan, portable_plan
from compress.quantization.static import collect, products, quantize_static, ranges
from compress.runtime.predictor import Logits, encoded_logits

_SAMPLED_TEXTS = 256


@dataclass(frozen=True)
class Sensitivity:
    """The effect of quantizing one weight alone: on the logits, and on how many answers."""

    weight: str
    rms_logit_change: float
    changed_answers: int


@dataclass(frozen=True)
class Attempt:
    """One way to quantize: its name, its plan, and the ranking that it follows, if it follows one."""

    name: str
    plan: QuantizationPlan
    sensitivity: tuple[Sensitivity, ...] = ()

    @property
    def kept_fp32(self) -> list[str]:
        """The weights that stay fp32, the most sensitive first."""
        return [one.weight for one in self.sensitivity if one.weight in self.plan.kept_fp32]


@dataclass(frozen=True)
class Quantized:
    """The first attempt that passed, its logits on the validation texts ``[n, labels]``, and the attempts before it."""

    model: onnx.ModelProto
    logits: Logits
    agreement: Agreement
    accepted: Attempt
    failed: Mapping[str, Agreement]
    risk: SaturationRisk

    def as_metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self.agreement) | {
            "quantized_as": self.accepted.name,
            "failed_tries": [f"{name}: {found}" for name, found in self.failed.items()],
            "kept_fp32": self.accepted.kept_fp32,
            "sensitivity": [asdict(one) for one in self.accepted.sensitivity],
            "without_vnni": asdict(self.risk),
        }


def quantize(model: onnx.ModelProto, reference: ReferenceOutputs, config: QuantizeConfig, threads: int) -> Quantized:
    """The fp32 ``model`` in int8, with at most ``config.max_drop`` points lost on the texts, or an error."""
    sample = reference.sample(_SAMPLED_TEXTS)
    portable = portable_plan(model)
    rewrite, reaches = choose_rewrite(model, config.calibrate, portable, sample, threads)
    starts = {"all int8": observed_plan(model, reaches), "all int8, in the portable range": portable}
    if config.portable:
        del starts["all int8"]
    failed: dict[str, Agreement] = {}
    for attempt in _attempts(model, starts, rewrite, sample, threads):
        quantized = rewrite(model, attempt.plan)
        logits = reference.answers(Candidate(quantized, reference.parent, threads))
        agreement = reference.agreement(logits)
        say(f"{attempt.name}: {agreement}")
        if agreement.is_within(config.max_drop):
            risk = count_risk(model, attempt.plan, reaches, len(sample.encodings))
            say(str(risk))
            return Quantized(quantized, logits, agreement, attempt, failed, risk)
        failed[attempt.name] = agreement
    best = min(failed, key=lambda name: failed[name].drop_points)
    raise CompressError(
        f"quantize: loses more on validation than --max-drop {config.max_drop:g} allows, "
        f"at best of {len(failed)} tries {failed[best]} with {best}; nothing was written, "
        "allow more, give more validation texts, or serve the fp32 model"
    )


def choose_rewrite(
    model: onnx.ModelProto, calibrate: str | None, portable: QuantizationPlan, reference: ReferenceOutputs, threads: int
) -> tuple[Rewrite, dict[str, Reach]]:
    """How to quantize, and the uint8 activations that each weight then meets on the reference's texts.

    ``calibrate`` is ``percentile`` or ``entropy`` for static ranges of activations, None for dynamic ones, which are
    observed with the ``portable`` plan because it answers alike on every CPU.
    """
    if calibrate is None:
        return quantize_weights, observe(model, portable, reference, threads)
    seen = collect(model, reference.parent, reference.encodings, threads)
    found = ranges(seen, calibrate)
    reaches = {weight: seen[value].reach(found[value]) for weight, value in products(model).items()}
    return partial(quantize_static, ranges=found), reaches


def _attempts(
    model: onnx.ModelProto,
    starts: Mapping[str, QuantizationPlan],
    rewrite: Rewrite,
    sample: ReferenceOutputs,
    threads: int,
) -> Iterator[Attempt]:
    """The plans ``starts``, then the first of them with more and more of the most sensitive weights in fp32."""
    for name, plan in starts.items():
        yield Attempt(name, plan)
    first = next(iter(starts.values()))
    ranked = tuple(sweep(model, sample, first, rewrite, threads))
    say(table(ranked, {name: weight.size for name, weight in quantizable(model).items()}))
    for count in _doubling(len(ranked) // 2):
        names = [one.weight for one in ranked[:count]]
        shown = ", ".join(names[:3]) + (f" and {count - 3} more" if count > 3 else "")
        yield Attempt(f"int8 but for {shown} in fp32", replace(first, kept_fp32=frozenset(names)), ranked)


def _doubling(most: int) -> list[int]:
    """1, 2, 4, ... and ``most`` at last."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), *([most] if most else [])]


def sweep(
    model: onnx.ModelProto, reference: ReferenceOutputs, plan: QuantizationPlan, rewrite: Rewrite, threads: int
) -> list[Sensitivity]:
    """Every weight of the fp32 ``model`` that ``plan`` would quantize, the most sensitive first."""
    everything = frozenset(quantizable(model))
    names = everything - plan.kept_fp32
    found = []
    with progress("sensitivity", len(names)) as advance:
        for name in sorted(names):
            alone = rewrite(model, replace(plan, kept_fp32=everything - {name}))
            logits = encoded_logits(Candidate(alone, reference.parent, threads), reference.encodings)
            before, after = (predictions(reference.parent.task, each) for each in (reference.logits, logits))
            changed = int((before != after).any(axis=1).sum())
            found.append(Sensitivity(name, float(np.sqrt(np.mean((logits - reference.logits) ** 2))), changed))
            advance(note=name)
    return sorted(found, key=lambda one: (-one.rms_logit_change, one.weight))


def table(ranked: Sequence[Sensitivity], sizes: Mapping[str, int]) -> str:
    """The ranking in lines, each with its share of all quantizable weights."""
    total = sum(sizes.values())
    width = max(len(one.weight) for one in ranked)
    shares = {name: size / total for name, size in sizes.items()}
    rows = [
        f"  {one.weight:{width}}  {one.rms_logit_change:11.5f}  {one.changed_answers:7}  {shares[one.weight]:6.1%}"
        for one in ranked
    ]
    return "\n".join([f"  {'quantized alone':{width}}  logits, rms  answers  weights", *rows])
