"""The objective of a training, and its optimizer: AdamW with linear warm-up and decay."""

from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional
from transformers import get_linear_schedule_with_warmup

from compress.config import TrainingConfig
from compress.modeling.states import Batch, States

Losses = dict[str, torch.Tensor]
"""Scalars by name: ``loss``, which is minimised, and its terms before weighting, which are logged."""

TEACHER_PREFIX = "teacher."
"""The prefix of a teacher's state in a batch."""


class Objective(Protocol):
    """Turns a model's states and a batch into losses. It may be an ``nn.Module`` with weights of its own to train."""

    wanted: frozenset[str]
    """The states that the objective reads beside the logits."""

    by_text: bool
    """Whether the losses are means over a batch's texts, so that a batch may be computed in parts."""

    def __call__(self, states: States, batch: Batch) -> Losses: ...


def hard_labels(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None, gamma: float = 0.0
) -> torch.Tensor:
    """Cross-entropy against the data's labels, a mean over the batch.

    With ``gamma`` above 0 it is the focal loss (Lin et al. 2017): each term is multiplied by (1 - p)^gamma, p being the
    probability of the right answer, so that what is answered well counts less.

    Args:
        logits: ``[batch, labels]``.
        targets: int64 ``[batch]``, or float ``[batch, labels]`` of zeros and ones for multi-label tasks, whose
            cross-entropy is computed for each label and averaged over labels.
        weights: a weight for each label, ``[labels]``; None weighs all alike.
        gamma: at least 0; 0 is plain cross-entropy.
    """
    several, plain = targets.dtype.is_floating_point, weights is None and not gamma
    reduction = "mean" if plain else "none"  # PyTorch's own mean sums in another order than a mean of the terms
    if several:
        terms = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction=reduction)
    else:
        terms = functional.cross_entropy(logits, targets, reduction=reduction)
    if plain:
        return terms
    missing = (targets - logits.sigmoid()).abs() if several else -torch.expm1(-terms)
    if weights is not None and not several:
        terms = terms * weights[targets]
    return (terms * missing.clamp(min=1e-6) ** gamma).mean() if gamma else terms.mean()


def usual_rate(hidden_size: int) -> float:
    """The default peak learning rate of fine-tuning, by the encoder's hidden size.

    1.6e-4 is measured on all-MiniLM-L6 over four data sets and three seeds (benchmarks/LOG.md). The others are what
    papers used: 3e-5 for BERT-base (Devlin et al. 2019: 2e-5 to 5e-5), 1e-5 for encoders of 1,024 and more, which
    higher rates can break (RoBERTa-large, Liu et al. 2019: 1e-5 to 3e-5; DeBERTa-large, He et al. 2021: 5e-6 to 1e-5).
    """
    if hidden_size <= 384:
        return 1.6e-4
    return 3e-5 if hidden_size < 1024 else 1e-5


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) with its schedule (Devlin et al. 2019).

    It trains the weights that require a gradient; matrices decay, biases and norms do not.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, peak_rate: float, steps: int) -> None:
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        groups = [
            {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        self._trained = trained
        self._peak, self._max_norm = peak_rate, config.max_grad_norm
        # fused passes once over the weights: on a CPU it took a sixth of the time of PyTorch's default
        self._optimizer = torch.optim.AdamW(groups, lr=peak_rate, fused=True)
        self._schedule = get_linear_schedule_with_warmup(self._optimizer, round(config.warmup * steps), steps)

    def step(self, accelerator: Accelerator) -> None:
        """Clip the gradients, take a step and clear them."""
        accelerator.clip_grad_norm_(self._trained, self._max_norm)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()

    def rate(self, step: int) -> float:
        """The learning rate of step number ``step``, counted from 1."""
        factor: float = self._schedule.lr_lambdas[0](step - 1)
        return self._peak * factor

    def state(self) -> dict[str, Any]:
        """The schedule's numbers and AdamW's moments of each weight, for a checkpoint."""
        return {"schedule": self._schedule.state_dict(), "moments": self._optimizer.state_dict()["state"]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": state["moments"]})
        self._schedule.load_state_dict(state["schedule"])
        for group, rate in zip(self._optimizer.param_groups, self._schedule.get_last_lr(), strict=True):
            group["lr"] = rate
