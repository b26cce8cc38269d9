"""What every importance is: a score for each attention head and FFN neuron."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Importance:
    """Importance of every head and neuron, layer by layer; comparable across layers.

    Attributes:
        heads: for each layer a float64 tensor ``[heads]``.
        neurons: for each layer a float64 tensor ``[neurons]``.
    """

    heads: list[torch.Tensor]
    neurons: list[torch.Tensor]
