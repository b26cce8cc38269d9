"""Quantize as much as the validation texts allow: attempts in order, the smallest graph first, until one passes.

1. All weights in int8, by column (per channel), in a smaller range where these texts could saturate it without VNNI.
2. All weights in the smaller range that nothing can saturate (with ``--portable`` the only range).
3. The most sensitive weights in fp32: the first, the first 2, 4, 8, ..., at last half of them; the others as in 1.

With ``--embeddings int4`` 1 and 2 are first tried with the table of words in int4. With ``--activations auto`` dynamic
and static activations are tried, and the faster of two that pass is taken. Step 3 follows only where neither passes.

A scale for the whole matrix, or 7 bits for all weights, is not tried: both are coarser forms of 1 and 2.
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
from compress.graph.writer import WORDS
from compress.progress import progress, say
from compress.quantization.activations import ActivationScheme, scheme_of, texts_per_s
from compress.quantization.dynamic import QuantizationPlan, Rewrite, quantizable
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.quantization.saturation import SaturationRisk, count_risk
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Logits, encoded_logits

SAMPLED_TEXTS = 256  # validation texts that observed ranges, speed and sensitivity are measured on


@dataclass(frozen=True)
class Sensitivity:
    """The effect of quantizing one weight alone: by how much the logits change, and how many answers."""

    weight: str
    rms_logit_change: float
    changed_answers: int


@dataclass(frozen=True)
class Attempt:
    """One try to quantize: its name, scheme and plan; ``sensitivity`` is the ranking that the plan follows, if any."""

    name: str
    scheme: ActivationScheme
    plan: QuantizationPlan
    sensitivity: tuple[Sensitivity, ...] = ()

    @property
    def kept_fp32(self) -> list[str]:
        """The weights that stay fp32, the most sensitive first."""
        return [effect.weight for effect in self.sensitivity if effect.weight in self.plan.kept_fp32]

    @property
    def embeddings(self) -> str:
        """The precision of the table of words."""
        if WORDS in self.plan.kept_fp32:
            return "fp32"
        return "int4" if self.plan.int4_words else "int8"


@dataclass(frozen=True)
class Quantized:
    """The accepted attempt, its model and logits on the validation texts ``[n, labels]``, and the attempts that failed.

    ``texts_per_s`` holds the speed of each kind of activations where both passed, else nothing.
    """

    model: onnx.ModelProto
    logits: Logits
    agreement: Agreement
    accepted: Attempt
    risk: SaturationRisk
    failed: Mapping[str, Agreement] = field(default_factory=dict)
    texts_per_s: Mapping[str, float] = field(default_factory=dict)

    def as_metrics(self) -> dict[str, Any]:
        """The manifest's entries."""
        return asdict(self.agreement) | {
            "quantized_as": self.accepted.name,
            "activations": self.accepted.scheme.kind,
            "ranges": self.accepted.scheme.range_method,
            "embeddings": self.accepted.embeddings,
            "texts_per_s": dict(self.texts_per_s),
            "failed_tries": [f"{name}: {agreement}" for name, agreement in self.failed.items()],
            "kept_fp32": self.accepted.kept_fp32,
            "sensitivity": [asdict(effect) for effect in self.accepted.sensitivity],
            "without_vnni": asdict(self.risk),
        }


def quantize(
    model: onnx.ModelProto,
    reference: ReferenceOutputs,
    calibration: Sequence[Encoding],
    config: QuantizeConfig,
    threads: int,
) -> Quantized:
    """Quantize the fp32 ``model`` with at most ``config.max_drop`` points lost on the reference's texts, or refuse it.

    Static ranges are taken from the texts ``calibration``, by the method that is best on a sample of the reference's.
    """
    if config.embeddings == "int4" and (columns := quantizable(model)[WORDS].shape[1]) % 2:
        raise CompressError(
            f"quantize.embeddings int4 puts two columns into a byte, but this model's embeddings have {columns} "
            "columns; leave embeddings out"
        )
    sample = reference.sample(SAMPLED_TEXTS)
    schemes = [scheme_of(kind, model, sample, calibration, config, threads) for kind in config.kinds]
    failed: dict[str, Agreement] = {}
    for attempts in (_all_int8, partial(_mixed, model, sample, threads)):
        passed: dict[str, Quantized] = {}
        for scheme in schemes:
            quantized, failures = _first_within(model, attempts(scheme), reference, config.max_drop, threads)
            failed |= failures
            if quantized:
                passed[scheme.kind] = quantized
        if passed:
            return replace(_fastest(passed, sample, threads), failed=failed)
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
) -> tuple[Quantized | None, dict[str, Agreement]]:
    """The first of ``attempts`` that loses at most ``max_drop`` points, and the attempts before it, which failed."""
    failed: dict[str, Agreement] = {}
    for attempt in attempts:
        scheme = attempt.scheme
        quantized = scheme.rewrite(model, attempt.plan)
        logits = reference.answers(Candidate(quantized, reference.parent, threads))
        agreement = reference.agreement(logits)
        say(f"{attempt.name}: {agreement}")
        if agreement.is_within(max_drop):
            risk = count_risk(model, attempt.plan, scheme.observed, min(len(reference.encodings), SAMPLED_TEXTS))
            say(str(risk))
            return Quantized(quantized, logits, agreement, attempt, risk), failed
        failed[attempt.name] = agreement
    return None, failed


def _fastest(passed: Mapping[str, Quantized], sample: ReferenceOutputs, threads: int) -> Quantized:
    """The one of ``passed``, by kind of activations, that answers most texts a second."""
    if len(passed) == 1:
        return next(iter(passed.values()))
    speeds = texts_per_s({kind: quantized.model for kind, quantized in passed.items()}, sample, threads)
    best = max(speeds, key=speeds.__getitem__)
    shown = ", ".join(f"{kind} {speed:,.0f}" for kind, speed in speeds.items())
    say(f"{best} activations are the faster ones, in texts a second as compress.load answers many: {shown}")
    return replace(passed[best], texts_per_s=speeds)


def _all_int8(scheme: ActivationScheme) -> Iterator[Attempt]:
    """Attempts with all weights in int8, one for each of the scheme's plans."""
    for name, plan in scheme.plans.items():
        yield Attempt(f"{name}, {scheme.kind} activations", scheme, plan)


def _mixed(
    model: onnx.ModelProto, sample: ReferenceOutputs, threads: int, scheme: ActivationScheme
) -> Iterator[Attempt]:
    """Attempts by the scheme's first plan in int8, with more and more of the most sensitive weights in fp32."""
    first = next(plan for plan in scheme.plans.values() if not plan.int4_words)
    ranked = tuple(rank_sensitivity(model, sample, first, scheme.rewrite, threads))
    say(sensitivity_table(ranked, {name: weight.size for name, weight in quantizable(model).items()}))
    for count in _doubling(len(ranked) // 2):
        names = [effect.weight for effect in ranked[:count]]
        shown = ", ".join(names[:3]) + (f" and {count - 3} more" if count > 3 else "")
        name = f"int8 but for {shown} in fp32, {scheme.kind} activations"
        yield Attempt(name, scheme, replace(first, kept_fp32=frozenset(names)), ranked)


def _doubling(most: int) -> list[int]:
    """The powers of two below ``most``, then ``most``; nothing where it is 0."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), *([most] if most else [])]


def rank_sensitivity(
    model: onnx.ModelProto, reference: ReferenceOutputs, plan: QuantizationPlan, rewrite: Rewrite, threads: int
) -> list[Sensitivity]:
    """The effect of quantizing each weight of the fp32 ``model`` alone, the most sensitive weight first."""
    names = frozenset(quantizable(model))
    effects = []
    with progress("sensitivity", len(names)) as advance:
        for name in sorted(names):
            alone = rewrite(model, replace(plan, kept_fp32=names - {name}))
            logits = encoded_logits(Candidate(alone, reference.parent, threads), reference.encodings)
            before, after = (predictions(reference.parent.task, each) for each in (reference.logits, logits))
            changed = int((before != after).any(axis=1).sum())
            effects.append(Sensitivity(name, float(np.sqrt(np.mean((logits - reference.logits) ** 2))), changed))
            advance(note=name)
    return sorted(effects, key=lambda effect: (-effect.rms_logit_change, effect.weight))


def sensitivity_table(ranked: Sequence[Sensitivity], sizes: Mapping[str, int]) -> str:
    """The ranking as a table; its last column is each weight's share of all that can be quantized."""
    total = sum(sizes.values())
    width = max(len(effect.weight) for effect in ranked)
    rows = [
        f"  {effect.weight:{width}}  {effect.rms_logit_change:11.5f}  {effect.changed_answers:7}  "
        f"{sizes[effect.weight] / total:6.1%}"
        for effect in ranked
    ]
    return "\n".join([f"  {'quantized alone':{width}}  logits, rms  answers  weights", *rows])
