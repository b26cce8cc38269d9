"""The loss whose gradients say what matters, and nothing else that gets one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from compress.training.objective import Batch, hard_labels


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No weight gets a gradient inside the ``with`` block."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        for weight in trained:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def loss_sum(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss of a batch's texts, added up."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    return hard_labels(model(**inputs).logits, batch["targets"]) * len(batch["targets"])
