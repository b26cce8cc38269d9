"""The importance that the settings ask for: measured on the data, a baseline, or a function of the user's own."""

from collections.abc import Sequence
from typing import Any

import torch

from compress.config import PruneConfig
from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.pruned import head_size_of
from compress.pruning.importance import Importance
from compress.pruning.importance.fisher import fisher_importance
from compress.pruning.importance.surgeon import surgeon_importance
from compress.training.batches import Examples

Scores = list[torch.Tensor]


def rank(checkpoint: Checkpoint, examples: Examples, config: PruneConfig) -> Importance:
    """The importance of all heads and neurons of ``checkpoint``, as ``config.importance`` says.

    Args:
        checkpoint: its network stays as it is.
        examples: a sample of the data, with labels.
        config: names the importance; its seed and batch size.

    Raises:
        CompressError: a function of the user's own gives something else than a finite score for each unit.
    """
    if callable(config.importance):
        return _checked(config.importance(checkpoint, examples), checkpoint)
    if config.importance == "surgeon":
        return surgeon_importance(checkpoint, examples, config.batch_size, config.seed)
    if config.importance == "fisher":
        return fisher_importance(checkpoint, examples, config.batch_size, config.seed)
    if config.importance == "magnitude":
        return magnitude_importance(checkpoint)
    return random_importance(checkpoint, config.seed)


def magnitude_importance(checkpoint: Checkpoint) -> Importance:
    """The sum of the squares of all weights that go with a unit: its own rows, and the columns that read it."""
    heads, neurons = [], []
    for layer in _layers(checkpoint):
        parts = [getattr(layer.attention.self, name, None) for name in ("query", "key", "value")]
        columns = _unit_norms([part for part in parts if part is not None], layer.attention.output.dense)
        heads.append(columns.reshape(-1, head_size_of(checkpoint.model.config)).sum(dim=1))
        neurons.append(_unit_norms([layer.intermediate.dense], layer.output.dense))
    return Importance(heads, neurons)


def random_importance(checkpoint: Checkpoint, seed: int) -> Importance:
    """Numbers from 0 to 1 that mean nothing: the floor that every other importance must beat."""
    generator = torch.Generator().manual_seed(seed)
    heads, neurons = (
        [torch.rand(count, generator=generator, dtype=torch.float64) for count in counts]
        for counts in widths(checkpoint)
    )
    return Importance(heads, neurons)


def _layers(checkpoint: Checkpoint) -> Any:
    return checkpoint.model.bert.encoder.layer


def widths(checkpoint: Checkpoint) -> tuple[list[int], list[int]]:
    """Heads and neurons of each layer."""
    head_size = head_size_of(checkpoint.model.config)
    layers = _layers(checkpoint)
    heads = [layer.attention.output.dense.in_features // head_size for layer in layers]
    return heads, [layer.output.dense.in_features for layer in layers]


def _unit_norms(writers: Sequence[torch.nn.Linear], reader: torch.nn.Linear) -> torch.Tensor:
    """Squared weights by unit, float64 ``[units]``."""
    rows = [writer.weight.detach().double().square().sum(dim=1) for writer in writers]
    return torch.stack([*rows, reader.weight.detach().double().square().sum(dim=0)]).sum(dim=0)


def _checked(importance: object, checkpoint: Checkpoint) -> Importance:
    """What the user's function gave, if it is an importance of this model's units."""
    if not isinstance(importance, Importance):
        raise CompressError(
            "prune.importance must give a compress.pruning.importance.Importance, "
            f"got {type(importance).__name__}; it has a tensor of scores for each layer's heads and neurons"
        )
    heads, neurons = widths(checkpoint)
    return Importance(_scores(importance.heads, heads, "heads"), _scores(importance.neurons, neurons, "neurons"))


def _scores(scores: Scores, counts: list[int], name: str) -> Scores:
    shapes = [list(layer.shape) if isinstance(layer, torch.Tensor) else type(layer).__name__ for layer in scores]
    wanted = [[count] for count in counts]
    if shapes != wanted:
        raise CompressError(
            f"prune.importance must give a tensor of {name} for each layer, of shapes {wanted}, got {shapes}"
        )
    if not all(torch.isfinite(layer).all() for layer in scores):
        raise CompressError(f"prune.importance must give finite numbers, got nan or infinity among its {name}")
    return [layer.detach().cpu().double() for layer in scores]
