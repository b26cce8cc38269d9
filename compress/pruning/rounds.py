"""Gradual pruning: several cuts, each followed by its share of the training."""

from dataclasses import dataclass, replace
from pathlib import Path

from compress.config import PruneConfig
from compress.pruning.selection import Budget
from compress.training.checkpointing import RunFiles


@dataclass(frozen=True)
class Round:
    """One cut and the training after it.

    Attributes:
        number: from 1.
        of: how many there are.
        budget: what may stay after the cut.
        epochs: of the training.
    """

    number: int
    of: int
    budget: Budget
    epochs: int

    def __str__(self) -> str:
        return f"round {self.number} of {self.of}: " if self.of > 1 else ""

    def run_files(self, run_files: RunFiles) -> RunFiles:
        """Where its training is kept: its checkpoints apart from other rounds', and still there while these train."""
        return (
            run_files
            if self.of == 1
            else replace(run_files, unfinished=Path(run_files.unfinished, f"round-{self.number}"))
        )


def plan_rounds(heads: int, neurons: int, config: PruneConfig) -> list[Round]:
    """Rounds that remove equal numbers of units, and end where a single one would; they share the epochs evenly.

    Where the epochs do not go into equal shares, later rounds, whose cuts are harder to recover from, get more.

    Args:
        heads: in all layers before the first cut.
        neurons: in all layers before the first cut.
        config: shares to remove, rounds and epochs.
    """
    rounds, epochs = config.rounds, config.epochs

    def left(units: int, share: float, number: int) -> int:
        return units - round(share * units * number / rounds)

    return [
        Round(
            number,
            rounds,
            Budget(left(heads, config.heads, number), left(neurons, config.ffn, number)),
            number * epochs // rounds - (number - 1) * epochs // rounds,
        )
        for number in range(1, rounds + 1)
    ]
