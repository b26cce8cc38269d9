"""Gradual pruning: how many heads and neurons each round keeps, which ones, and its share of the training."""

from dataclasses import dataclass, replace

import torch

from compress.config import PruneConfig
from compress.modeling.widths import NEURON_BLOCK, Cut
from compress.pruning.importance import Importance
from compress.training.run_files import RunFiles


@dataclass(frozen=True)
class Budget:
    """How many heads and neurons may stay, over all layers."""

    heads: int
    neurons: int


@dataclass(frozen=True)
class Round:
    """One cut and the training after it; ``number`` counts from 1."""

    number: int
    of: int
    budget: Budget
    epochs: float

    def __str__(self) -> str:
        return f"round {self.number} of {self.of}: " if self.of > 1 else ""

    def run_files(self, run_files: RunFiles, steps_before: int) -> RunFiles:
        """The files of this round's training; its checkpoints have a folder of their own until the last round ends."""
        own = run_files.unfinished / f"round-{self.number}" if self.of > 1 else run_files.unfinished
        return replace(run_files, unfinished=own, steps_before=steps_before)


def plan_rounds(heads: int, neurons: int, config: PruneConfig) -> list[Round]:
    """Rounds that each remove the same number of units, together as many as a single round would.

    The epochs are shared evenly; where that is impossible, later rounds get more, because their cuts are harder to
    recover from. ``heads`` and ``neurons`` count those of all layers before the first cut.
    """
    rounds = config.rounds
    epochs_by_end = [*(int(number * config.epochs / rounds) for number in range(rounds)), config.epochs]

    def left(units: int, share: float, number: int) -> int:
        return units - round(share * units * number / rounds)

    return [
        Round(
            number,
            rounds,
            Budget(left(heads, config.heads, number), left(neurons, config.ffn, number)),
            epochs_by_end[number] - epochs_by_end[number - 1],
        )
        for number in range(1, rounds + 1)
    ]


def choose(importance: Importance, budget: Budget) -> Cut:
    """The cut that keeps as much as ``budget`` allows, and removes what matters least."""
    return Cut(
        heads=_keep(importance.heads, budget.heads, block=1),
        neurons=_keep(importance.neurons, budget.neurons, block=NEURON_BLOCK),
    )


def _keep(scores: list[torch.Tensor], budget: int, block: int) -> list[list[int]]:
    """The units to keep of each layer: its most important ones, by the block, and at least one block."""
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
