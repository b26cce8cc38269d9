"""The importance that the settings ask for: measured on the data, a baseline, or a function of the user's own."""

from collections.abc import Sequence

import torch

from compress.config import PruneConfig
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.widths import Widths
from compress.pruning.importance import Importance, fisher_importance
from compress.pruning.surgeon import surgeon_importance
from compress.training.batches import Examples

Scores = list[torch.Tensor]


def rank(checkpoint: Checkpoint, examples: Examples, config: PruneConfig) -> Importance:
    """The importance of all heads and neurons of ``checkpoint``, as ``config.importance`` says.

    Raises:
        CompressError: a function of the user's own does not give a finite score for each unit.
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
    """The importance of a unit as the sum of its squared weights: its own rows, and the columns that read it."""
    heads, neurons = [], []
    for layer in EncoderView(checkpoint.model).layers:
        columns = _unit_norms((*layer.projections, *layer.position_projections), layer.attention_output)
        heads.append(columns.reshape(-1, layer.head_size).sum(dim=1))
        neurons.append(_unit_norms([layer.ffn_input], layer.ffn_output))
    return Importance(heads, neurons)


def random_importance(checkpoint: Checkpoint, seed: int) -> Importance:
    """Random scores from 0 to 1: the baseline that every other importance must beat."""
    generator, widths = torch.Generator().manual_seed(seed), Widths.of(checkpoint.model)
    heads, neurons = (
        [torch.rand(count, generator=generator, dtype=torch.float64) for count in counts]
        for counts in (widths.heads, widths.neurons)
    )
    return Importance(heads, neurons)


def _unit_norms(writers: Sequence[torch.nn.Linear], reader: torch.nn.Linear) -> torch.Tensor:
    """The sum of squared weights by unit, float64 ``[units]``; fused writers have several rows for a unit."""
    columns = reader.weight.detach().double().square().sum(dim=0)
    rows = [writer.weight.detach().double().square().sum(dim=1) for writer in writers]
    parts = [part for squares in rows for part in squares.split(len(columns))]
    return torch.stack([*parts, columns]).sum(dim=0)


def _checked(importance: object, checkpoint: Checkpoint) -> Importance:
    """The result of the user's function, refused if it is no importance of this model's units."""
    if not isinstance(importance, Importance):
        raise CompressError(
            "prune.importance must give a compress.pruning.importance.Importance, "
            f"got {type(importance).__name__}; it has a tensor of scores for each layer's heads and neurons"
        )
    widths = Widths.of(checkpoint.model)
    return Importance(
        _scores(importance.heads, widths.heads, "heads"), _scores(importance.neurons, widths.neurons, "neurons")
    )


def _scores(scores: Scores, counts: Sequence[int], name: str) -> Scores:
    shapes = [list(layer.shape) if isinstance(layer, torch.Tensor) else type(layer).__name__ for layer in scores]
    wanted = [[count] for count in counts]
    if shapes != wanted:
        raise CompressError(
            f"prune.importance must give a tensor of {name} for each layer, of shapes {wanted}, got {shapes}"
        )
    if not all(torch.isfinite(layer).all() for layer in scores):
        raise CompressError(f"prune.importance must give finite numbers, got nan or infinity among its {name}")
    return [layer.detach().cpu().double() for layer in scores]
