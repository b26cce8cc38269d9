"""How the weights go down the gradient: AdamW with clipping, under a linear warm-up and decay."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers import get_linear_schedule_with_warmup

from compress.config import TrainingConfig


class Optimizer:
    """The optimiser and its schedule (AdamW: Loshchilov and Hutter 2019; the schedule: Devlin et al. 2019).

    Args:
        loss_module: its weights that require a gradient are trained; only matrices decay, not biases, not norms.
        config: rate, warm-up, decay and clipping.
        steps: of the whole training.
    """

    def __init__(self, loss_module: nn.Module, config: TrainingConfig, steps: int) -> None:
        trained = [weight for weight in loss_module.parameters() if weight.requires_grad]
        groups = [
            {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        self._trained = trained
        self._peak, self._max_norm = config.learning_rate, config.max_grad_norm
        # one pass over the weights a step: fused took a sixth of the time of PyTorch's default on a CPU
        self._optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
        self._schedule = get_linear_schedule_with_warmup(self._optimizer, round(config.warmup * steps), steps)

    def step(self, accelerator: Accelerator) -> None:
        """Clip the gradients that there are, take a step, and forget them."""
        accelerator.clip_grad_norm_(self._trained, self._max_norm)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()

    def rate(self, step: int) -> float:
        """The learning rate at which step number ``step`` is taken, counted from 1."""
        factor: float = self._schedule.lr_lambdas[0](step - 1)
        return self._peak * factor

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What a checkpoint keeps: the schedule's numbers, and AdamW's moments of each weight."""
        moments = self._optimizer.state_dict()["state"]
        return self._schedule.state_dict(), {
            f"{at}.{name}": found for at in moments for name, found in moments[at].items()
        }

    def load(self, numbers: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Go on from a checkpoint."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            at, of = name.split(".")
            moments.setdefault(int(at), {})[of] = tensor
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        self._schedule.load_state_dict(numbers)
        for group, rate in zip(self._optimizer.param_groups, self._schedule.get_last_lr(), strict=True):
            group["lr"] = rate
