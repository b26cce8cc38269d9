"""What to remove: the least important heads and blocks of neurons over all layers; some stay in each layer."""

from dataclasses import dataclass

import torch

from compress.modeling.widths import NEURON_BLOCK, Cut
from compress.pruning.importance import Importance


@dataclass(frozen=True)
class Budget:
    """How many heads and neurons may stay, over all layers."""

    heads: int
    neurons: int


def choose(importance: Importance, budget: Budget) -> Cut:
    """The cut that keeps as much as ``budget`` allows, and removes what matters least."""
    return Cut(
        heads=_keep(importance.heads, budget.heads, block=1),
        neurons=_keep(importance.neurons, budget.neurons, block=NEURON_BLOCK),
    )


def _keep(scores: list[torch.Tensor], budget: int, block: int) -> list[list[int]]:
    """Units to keep: within a layer the most important ones, by the block; every layer keeps at least a block."""
    ranked = [torch.argsort(layer, descending=True, stable=True) for layer in scores]
    first_kept = [min(block, len(layer)) for layer in scores]
    candidates = [
        (float(layer[order[at : at + block]].mean()), index, min(block, len(layer) - at))
        for index, (layer, order) in enumerate(zip(scores, ranked, strict=True))
        for at in range(first_kept[index], len(layer), block)
    ]
    kept = list(first_kept)
    for _, index, units in sorted(candidates, key=lambda candidate: -candidate[0]):
        if sum(kept) + units <= budget:
            kept[index] += units
    return [sorted(order[:count].tolist()) for order, count in zip(ranked, kept, strict=True)]
