"""The model that is trained together with what it is trained for, as the one module that a step calls."""

import torch
from torch import nn

from compress.families.view import EncoderView
from compress.modeling.states import Batch, recording
from compress.training.objective import Objective


class LossModule(nn.Module):
    """From a batch to its losses; in one module, so that processes that train together share all its gradients.

    Args:
        model: a classifier.
        objective: its weights, where it has any, are trained too.
        precision: ``bf16`` for autocast of the model; the losses are always computed in fp32.
    """

    def __init__(self, model: nn.Module, objective: Objective, precision: str) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self._bf16 = precision == "bf16"

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Losses by name, scalars; ``loss`` is the one to minimise."""
        device = batch["input_ids"].device.type
        inputs = EncoderView(self.model).inputs(batch)
        with recording(self.model, self.objective.wanted) as states:
            with torch.autocast(device, torch.bfloat16, enabled=self._bf16):
                logits = self.model(**inputs).logits
            with torch.autocast(device, enabled=False):
                losses = self.objective({**states, "logits": logits.float()}, batch)
            # Every weight has its part in the loss, if only a zero: processes that train together wait for all of them.
            return losses | {"loss": losses["loss"] + 0.0 * logits.float().sum()}
