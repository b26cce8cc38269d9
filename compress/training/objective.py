"""What a model is trained for: the seam between the loop, which knows no loss, and the losses, which know no loop."""

from typing import Protocol

import torch
from torch.nn import functional

from compress.modeling.states import Batch, States

Losses = dict[str, torch.Tensor]
"""Scalars by name: ``loss``, which is minimised, and its terms before weighting, which are logged."""

TEACHER = "teacher."


class Objective(Protocol):
    """Turns a model's states and a batch into losses. It may be an ``nn.Module`` with weights of its own to train."""

    wanted: frozenset[str]
    """The states that it reads beside the logits."""

    def __call__(self, states: States, batch: Batch) -> Losses: ...


class HardLabels:
    """The objective of fine-tuning: the data's labels alone."""

    wanted: frozenset[str] = frozenset()

    def __call__(self, states: States, batch: Batch) -> Losses:
        return {"loss": hard_labels(states["logits"], batch["targets"])}


def hard_labels(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against the data's labels, a mean over the batch.

    Args:
        logits: ``[batch, labels]``.
        targets: int64 ``[batch]``, or float ``[batch, labels]`` of zeros and ones for multi-label tasks, whose
            cross-entropy is computed for each label and averaged over labels.
    """
    if targets.dtype.is_floating_point:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.cross_entropy(logits, targets)
