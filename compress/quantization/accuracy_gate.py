"""Quantize as much as the validation texts allow: attempts in order, the smallest graph first, until one passes.

1. All weights in int8, by column; columns that could saturate without VNNI on these texts in a smaller range.
2. All weights in the smaller range that nothing can saturate (with ``--portable`` the only range).
3. The most sensitive weights in fp32: the first, the first 2, 4, 8, ..., and at last half of them; the rest as in 1.

With ``--activations auto`` both kinds of activations are tried, and of two that pass the faster one is taken. 3 is
tried only where neither passes in whole int8.

A scale for the whole matrix, or 7 bits for all of it, is not tried: each is one of these, only coarser.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from compress.config import QuantizeConfig
from compress.errors import CompressError
from compress.evaluation.comparison import Agreement
from compress.evaluation.metrics import predictions
from compress.progress import progress, say
from compress.quantization.activations import Way, texts_per_s, way_of
from compress.quantization.dynamic import QuantizationPlan, Rewrite, quantizable
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.quantization.saturation import SaturationRisk, count_risk
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Logits, encoded_logits

SAMPLED_TEXTS = 256  # that ranges, reaches and sensitivity are found on


@dataclass(frozen=True)
class Sensitivity:
    """The effect of quantizing one weight alone: on the logits, and on how many answers."""

    weight: str
    rms_logit_change: float
    changed_answers: int


@dataclass(frozen=True)
class Attempt:
    """One try to quantize: its name, way and plan, and the ranking that it follows, if it follows one."""

    name: str
    way: Way
    plan: QuantizationPlan
    sensitivity: tuple[Sensitivity, ...] = ()

    @property
    def kept_fp32(self) -> list[str]:
        """The weights that stay fp32, the most sensitive first."""
        return [one.weight for one in self.sensitivity if one.weight in self.plan.kept_fp32]


@dataclass(frozen=True)
class Quantized:
    """The attempt that was taken, its logits on the validation texts ``[n, labels]``, and the attempts that failed.

    ``texts_per_s`` is that of each kind of activations that passed, where there was a choice.
    """

    model: onnx.ModelProto
    logits: Logits
    agreement: Agreement
    accepted: Attempt
    failed: Mapping[str, Agreement]
    risk: SaturationRisk
    texts_per_s: Mapping[str, float] = field(default_factory=dict)

    def as_metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self.agreement) | {
            "quantized_as": self.accepted.name,
            "activations": self.accepted.way.kind,
            "ranges": self.accepted.way.range_method,
            "texts_per_s": dict(self.texts_per_s),
            "failed_tries": [f"{name}: {found}" for name, found in self.failed.items()],
            "kept_fp32": self.accepted.kept_fp32,
            "sensitivity": [asdict(one) for one in self.accepted.sensitivity],
            "without_vnni": asdict(self.risk),
        }


def quantize(
    model: onnx.ModelProto,
    reference: ReferenceOutputs,
    calibration: Sequence[Encoding],
    config: QuantizeConfig,
    threads: int,
) -> Quantized:
    """The fp32 ``model`` in int8, with at most ``config.max_drop`` points lost on the reference's texts, or an error.

    ``calibration`` are the texts that static activations take their ranges from.
    """
    sample = reference.sample(SAMPLED_TEXTS)
    ways = [way_of(kind, model, sample, calibration, config, threads) for kind in config.kinds]
    failed: dict[str, Agreement] = {}
    for attempts in (_whole, partial(_mixed, model, sample, threads)):
        tried = (_first_within(model, attempts(way), reference, config.max_drop, threads, failed) for way in ways)
        if passed := {found.accepted.way.kind: found for found in tried if found}:
            return _fastest(passed, sample, threads)
    best = min(failed, key=lambda name: failed[name].drop_points)
    raise CompressError(
        f"quantize: each of {len(failed)} tries loses more on validation than --max-drop {config.max_drop:g} allows; "
        f"the best, {best}: {failed[best]}; nothing was written: allow more, give more validation texts, or serve the "
        "fp32 model"
    )


def _first_within(
    model: onnx.ModelProto,
    attempts: Iterable[Attempt],
    reference: ReferenceOutputs,
    max_drop: float,
    threads: int,
    failed: dict[str, Agreement],
) -> Quantized | None:
    """The first of ``attempts`` that loses at most ``max_drop`` points; those before it are added to ``failed``."""
    for attempt in attempts:
        way = attempt.way
        quantized = way.rewrite(model, attempt.plan)
        logits = reference.answers(Candidate(quantized, reference.parent, threads))
        agreement = reference.agreement(logits)
        say(f"{attempt.name}: {agreement}")
        if agreement.is_within(max_drop):
            risk = count_risk(model, attempt.plan, way.reaches, min(len(reference.encodings), SAMPLED_TEXTS))
            say(str(risk))
            return Quantized(quantized, logits, agreement, attempt, failed, risk)
        failed[attempt.name] = agreement
    return None


def _fastest(passed: Mapping[str, Quantized], sample: ReferenceOutputs, threads: int) -> Quantized:
    """Of each kind's, by its name, the one that answers most texts a second."""
    if len(passed) == 1:
        return next(iter(passed.values()))
    speeds = texts_per_s({kind: found.model for kind, found in passed.items()}, sample, threads)
    best = max(speeds, key=speeds.__getitem__)
    shown = ", ".join(f"{kind} {speed:,.0f}" for kind, speed in speeds.items())
    say(f"{best} activations are the faster ones, in texts a second as compress.load answers many: {shown}")
    return replace(passed[best], texts_per_s=speeds)


def _whole(way: Way) -> Iterator[Attempt]:
    """All weights in int8."""
    for name, plan in way.plans.items():
        yield Attempt(f"{name}, {way.kind} activations", way, plan)


def _mixed(model: onnx.ModelProto, sample: ReferenceOutputs, threads: int, way: Way) -> Iterator[Attempt]:
    """The first of the way's plans with more and more of the most sensitive weights in fp32."""
    first = next(iter(way.plans.values()))
    ranked = tuple(sweep(model, sample, first, way.rewrite, threads))
    say(table(ranked, {name: weight.size for name, weight in quantizable(model).items()}))
    for count in _doubling(len(ranked) // 2):
        names = [one.weight for one in ranked[:count]]
        shown = ", ".join(names[:3]) + (f" and {count - 3} more" if count > 3 else "")
        name = f"int8 but for {shown} in fp32, {way.kind} activations"
        yield Attempt(name, way, replace(first, kept_fp32=frozenset(names)), ranked)


def _doubling(most: int) -> list[int]:
    """1, 2, 4, ... and ``most`` at last."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), *([most] if most else [])]


def sweep(
    model: onnx.ModelProto, reference: ReferenceOutputs, plan: QuantizationPlan, rewrite: Rewrite, threads: int
) -> list[Sensitivity]:
    """Every weight of the fp32 ``model`` that can be quantized, the most sensitive first."""
    names = frozenset(quantizable(model))
    found = []
    with progress("sensitivity", len(names)) as advance:
        for name in sorted(names):
            alone = rewrite(model, replace(plan, kept_fp32=names - {name}))
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
