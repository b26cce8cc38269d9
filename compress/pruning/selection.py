"""What to remove: the least important heads and blocks of neurons over all layers, and some left in each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from compress.pruning.importance import Importance

# int8 kernels work on blocks of columns; odd widths were measured up to three times slower (Torch-Pruning#38).
NEURON_BLOCK = 32


@dataclass(frozen=True)
class Cut:
    """The heads and neurons that stay of each layer, as rising indices; a layer that keeps neither goes altogether."""

    heads: list[list[int]]
    neurons: list[list[int]]

    @property
    def layers(self) -> list[int]:
        """The layers that stay, by number."""
        units = zip(self.heads, self.neurons, strict=True)
        return [index for index, (heads, neurons) in enumerate(units) if heads or neurons]

    def __str__(self) -> str:
        heads, neurons = ([len(units[index]) for index in self.layers] for units in (self.heads, self.neurons))
        kept = "" if len(self.layers) == len(self.heads) else f"layers {self.layers} of {len(self.heads)}, "
        return f"{kept}heads {heads}, neurons {neurons}"


@dataclass(frozen=True)
class Budget:
    """How many heads and neurons may stay, over all layers."""

    heads: int
    neurons: int


def spans(layers: Sequence[int], depth: int) -> list[range]:
    """For each of the ``layers`` that stay, itself and those above it that went, whose work it does from then on."""
    return [range(start, end) for start, end in zip(layers, [*layers[1:], depth], strict=True)]


def choose(importance: Importance, budget: Budget) -> Cut:
    """The cut that leaves what ``budget`` allows, and removes what is missed least."""
    return Cut(
        heads=_keep(importance.heads, budget.heads, block=1),
        neurons=_keep(importance.neurons, budget.neurons, block=NEURON_BLOCK),
    )


def _keep(scores: list[torch.Tensor], budget: int, block: int) -> list[list[int]]:
    """Units to keep. Within a layer they go in order of importance, ``block`` at a time; the first block stays."""
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
