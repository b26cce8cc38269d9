"""What every importance gives, and the loss whose gradients measure it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from compress.families.view import EncoderView
from compress.modeling.states import Batch
from compress.training.optimization import hard_labels


@dataclass(frozen=True)
class Importance:
    """Importance of every head and neuron, layer by layer; comparable across layers.

    Attributes:
        heads: for each layer a float64 tensor ``[heads]``.
        neurons: for each layer a float64 tensor ``[neurons]``.
    """

    heads: list[torch.Tensor]
    neurons: list[torch.Tensor]


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
    logits = model(**EncoderView(model).inputs(batch)).logits
    return hard_labels(logits, batch["targets"]) * len(batch["targets"])
