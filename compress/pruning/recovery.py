"""Gradual pruning: the cuts and their shares of the training, and how a model does that is not trained."""

from dataclasses import dataclass, replace
from pathlib import Path

from compress.config import PruneConfig
from compress.evaluation.metrics import choose_metric, positive_column, score
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.pruning.selection import Budget
from compress.runtime.predictor import encoded_logits
from compress.training.batches import Examples
from compress.training.run_files import RunFiles
from compress.training.validator import TrainingResult


@dataclass(frozen=True)
class Round:
    """One cut and the training after it.

    Attributes:
        number: from 1.
        of: the number of rounds.
        budget: the units that may stay after the cut.
        epochs: of the training.
    """

    number: int
    of: int
    budget: Budget
    epochs: int

    def __str__(self) -> str:
        return f"round {self.number} of {self.of}: " if self.of > 1 else ""

    def run_files(self, run_files: RunFiles, steps_before: int) -> RunFiles:
        """Where its training writes. Its checkpoints stay until the last round ends, in a folder of their own."""
        own = Path(run_files.unfinished, f"round-{self.number}") if self.of > 1 else run_files.unfinished
        return replace(run_files, unfinished=own, steps_before=steps_before)


def plan_rounds(heads: int, neurons: int, config: PruneConfig) -> list[Round]:
    """Rounds that each remove the same number of units and together as many as a single one would.

    The epochs are shared evenly. If they cannot be, later rounds get more, because their cuts are harder to recover
    from.

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


def untrained(model: Checkpoint, validation: Examples, config: PruneConfig) -> TrainingResult:
    """The result of a training of no steps: the metric of ``model`` as it is on the validation texts."""
    logits = encoded_logits(TorchPredictor(model, torch_device(config.device)), list(validation.encodings))
    model.model.cpu()
    metric = choose_metric(config.metric, model.task, len(model.labels))
    best = score(metric, logits, validation.targets, positive=positive_column(model.labels))
    return TrainingResult(metric, best=best)
