"""The losses, each a pure function of logits; all are means over the batch, so that weights mean the same anywhere."""

from collections.abc import Callable

import torch
from torch.nn import functional

from compress.training.batches import Batch

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]
"""From student logits ``[batch, labels]`` and the batch to a scalar."""


def hard_labels(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against the data's labels.

    Args:
        logits: ``[batch, labels]``.
        targets: int64 ``[batch]``, or float ``[batch, labels]`` of zeros and ones for multi-label tasks, where the
            cross-entropy is per label and averaged over labels.
    """
    if targets.dtype.is_floating_point:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.cross_entropy(logits, targets)


def soft_labels(student: torch.Tensor, teacher: torch.Tensor, temperature: float, *, multi_label: bool) -> torch.Tensor:
    """KL divergence from teacher to student at ``temperature``, times its square (Hinton et al. 2015).

    The square keeps the gradients' size independent of the temperature. Labels of a multi-label task are independent,
    so each has a divergence of its own, between two Bernoulli distributions, averaged over labels.

    Args:
        student: logits ``[batch, labels]``.
        teacher: logits ``[batch, labels]``.
        temperature: above 0; 1 compares the distributions as they are.
        multi_label: per-label sigmoid instead of a softmax over labels.
    """
    student, teacher = student / temperature, teacher / temperature
    if multi_label:
        yes = torch.sigmoid(teacher) * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        no = torch.sigmoid(-teacher) * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
        return (yes + no).mean() * temperature**2
    log_student, log_teacher = functional.log_softmax(student, dim=-1), functional.log_softmax(teacher, dim=-1)
    return functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


def hard_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Fine-tuning's loss: the data's labels alone."""
    return hard_labels(logits, batch["targets"])


def distillation_loss(temperature: float, hard_weight: float, *, multi_label: bool) -> Loss:
    """``hard_weight`` parts of hard labels and ``1 - hard_weight`` parts of soft ones."""

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        soft = soft_labels(logits, batch["teacher_logits"], temperature, multi_label=multi_label)
        return (1 - hard_weight) * soft + hard_weight * hard_labels(logits, batch["targets"])

    return loss
