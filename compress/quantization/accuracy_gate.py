"""Quantize as little or as much as the validation texts allow: the tries, cheapest first, until one passes.

1. All weights in int8, by column; columns that could saturate without VNNI on these texts in a smaller range.
2. All weights in the smaller range that nothing can saturate (with ``--portable`` the only range).
3. The most sensitive weights in fp32: the first, the first 2, 4, 8, ..., and at last half of them; the rest as in 1.

A scale for the whole matrix, or 7 bits for all of it, is no rung: each is one of these, only coarser.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import onnx

from compress.config import QuantizeConfig
from compress.errors import CompressError
from compress.evaluation.agreement import Agreement, ReferenceOutputs
from compress.progress import say
from compress.quantization.candidate import Candidate
from compress.quantization.dynamic import QuantizationPlan, quantizable
from compress.quantization.method import Rewrite, choose_rewrite
from compress.quantization.saturation import SaturationRisk, count_risk, observed_plan, portable_plan
from compress.quantization.sensitivity import Sensitivity, sweep, table

_SAMPLED_TEXTS = 256


@dataclass(frozen=True)
class Attempt:
    """One way to quantize: what it is in words, and as a plan."""

    name: str
    plan: QuantizationPlan
    sensitivity: tuple[Sensitivity, ...] = ()


@dataclass(frozen=True)
class Quantized:
    """The first try that passed.

    Attributes:
        model: the int8 graph.
        agreement: its answers against its parent's.
        accepted: what it is in words.
        failed: what was tried before, in words and with numbers.
        kept_fp32: the weights that stayed fp32, the most sensitive first.
        sensitivity: the sweep that ranked them; empty where none was needed.
        risk: what could saturate on CPUs without VNNI, and what was done about it.
    """

    model: onnx.ModelProto
    agreement: Agreement
    accepted: str
    failed: tuple[str, ...]
    kept_fp32: tuple[str, ...]
    sensitivity: tuple[Sensitivity, ...]
    risk: SaturationRisk

    def as_metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self.agreement) | {
            "quantized_as": self.accepted,
            "failed_tries": list(self.failed),
            "kept_fp32": list(self.kept_fp32),
            "sensitivity": [asdict(one) for one in self.sensitivity],
            "without_vnni": asdict(self.risk),
        }


def quantize(model: onnx.ModelProto, reference: ReferenceOutputs, config: QuantizeConfig, threads: int) -> Quantized:
    """The fp32 ``model`` in int8, with no more lost on the exam than ``config.max_drop`` points.

    Raises:
        CompressError: every try loses more; says by how much.
    """
    sample = reference.sample(_SAMPLED_TEXTS)
    portable = portable_plan(model)
    rewrite, reaches = choose_rewrite(model, config.calibrate, portable, sample, threads)
    starts = {"all int8": observed_plan(model, reaches), "all int8, in the portable range": portable}
    if config.portable:
        del starts["all int8"]
    failed: dict[str, Agreement] = {}
    for attempt in _tries(model, starts, rewrite, sample, threads):
        quantized = rewrite(model, attempt.plan)
        agreement = reference.agreement(Candidate(quantized, reference.parent, threads))
        say(f"{attempt.name}: {agreement}")
        if agreement.is_within(config.max_drop):
            risk = count_risk(model, attempt.plan, reaches, len(sample.encodings))
            say(str(risk))
            return _accept(quantized, agreement, attempt, failed, risk)
        failed[attempt.name] = agreement
    best = min(failed, key=lambda name: failed[name].drop_points)
    raise CompressError(
        f"quantize: loses more on validation than --max-drop {config.max_drop:g} allows, "
        f"at best of {len(failed)} tries {failed[best]} with {best}; nothing was written, "
        "allow more, give more validation texts, or serve the fp32 model"
    )


def _accept(
    model: onnx.ModelProto,
    agreement: Agreement,
    attempt: Attempt,
    failed: Mapping[str, Agreement],
    risk: SaturationRisk,
) -> Quantized:
    kept = tuple(one.weight for one in attempt.sensitivity if one.weight in attempt.plan.kept_fp32)
    before = tuple(f"{name}: {found}" for name, found in failed.items())
    return Quantized(model, agreement, attempt.name, before, kept, attempt.sensitivity, risk)


def _tries(
    model: onnx.ModelProto,
    starts: Mapping[str, QuantizationPlan],
    rewrite: Rewrite,
    sample: ReferenceOutputs,
    threads: int,
) -> Iterator[Attempt]:
    """The whole plans ``starts``, then the first of them with ever more of the most sensitive weights in fp32."""
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
