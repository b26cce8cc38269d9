"""What a model is trained for: the seam between the loop, which knows no loss, and the losses, which know no loop."""

from typing import Protocol

import torch
from torch.nn import functional

from compress.modeling.states import Batch, States

TEACHER = "teacher."


class Objective(Protocol):
    """Turns a model's states and a batch into losses. May be an ``nn.Module`` with weights of its own to train."""

    wanted: frozenset[str]
    """States beside the logits that it must be shown."""

    def __call__(self, states: States, batch: Batch) -> dict[str, torch.Tensor]:
        """Scalars by name: ``loss``, which is minimised, and its parts before weighting, which are shown."""
        ...


class HardLabels:
    """Fine-tuning's objective: the data's labels alone."""

    wanted: frozenset[str] = frozenset()

    def __call__(self, states: States, batch: Batch) -> dict[str, torch.Tensor]:
        return {"loss": hard_labels(states["logits"], batch["targets"])}


def hard_labels(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against the data's labels, a mean over the batch.

    Args:
        logits: ``[batch, labels]``.
        targets: int64 ``[batch]``, or float ``[batch, labels]`` of zeros and ones for multi-label tasks, where the
            cross-entropy is per label and averaged over labels.
    """
    if targets.dtype.is_floating_point:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.cross_entropy(logits, targets)
