"""Which weights lose most by quantization: each is quantized alone, and its effect on validation logits measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from compress.evaluation.metrics import predictions
from compress.progress import progress
from compress.quantization.dynamic import QuantizationPlan, Rewrite, quantizable
from compress.quantization.reference import Candidate, ReferenceOutputs
from compress.runtime.predictor import encoded_logits


@dataclass(frozen=True)
class Sensitivity:
    """The effect of quantizing one weight and nothing else.

    Attributes:
        weight: its name in the graph.
        rms_logit_change: root mean square change of the logits.
        changed_answers: on how many of the texts the answer changes.
    """

    weight: str
    rms_logit_change: float
    changed_answers: int


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
