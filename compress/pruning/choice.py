"""What to remove: the least important heads and blocks of neurons over all layers, and some left in each."""

from dataclasses import dataclass

import torch

from compress.config import PruneConfig
from compress.pruning.importance import Importance

# int8 kernels work on blocks of columns; odd widths were measured up to three times slower (Torch-Pruning#38).
NEURON_BLOCK = 32


@dataclass(frozen=True)
class Cut:
    """The heads and neurons that stay, layer by layer, as rising indices."""

    heads: list[list[int]]
    neurons: list[list[int]]

    def __str__(self) -> str:
        return f"heads {[len(kept) for kept in self.heads]}, neurons {[len(kept) for kept in self.neurons]}"


def choose(importance: Importance, config: PruneConfig) -> Cut:
    """The cut that removes the shares ``config.heads`` and ``config.ffn``, where they are missed least."""
    return Cut(
        heads=_keep(importance.heads, config.heads, block=1),
        neurons=_keep(importance.neurons, config.ffn, block=NEURON_BLOCK),
    )


def _keep(scores: list[torch.Tensor], remove: float, block: int) -> list[list[int]]:
    """Units to keep. Within a layer they go in order of importance, ``block`` at a time; the first block stays."""
    ranked = [torch.argsort(layer, descending=True, stable=True) for layer in scores]
    first_kept = [min(block, len(layer)) for layer in scores]
    budget = sum(map(len, scores)) - round(remove * sum(map(len, scores)))
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
