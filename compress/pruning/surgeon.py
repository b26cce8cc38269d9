"""How much heads and neurons matter once what stays has been refitted: Optimal Brain Surgeon on output projections.

Squared gradients on masks say how much a unit matters while all others are there. A layer that is cut by half may lose
several units that do the same work: any of them could be removed, but not all. Here a unit's score is the error that
least squares cannot make up for when the unit is removed after all that matter less (Hassibi and Stork 1993; for
structures ZipLM, Kurtic et al. 2023).
"""

import torch
from scipy.optimize import isotonic_regression
from torch import nn
from torch.utils.hooks import RemovableHandle

from compress.modeling.checkpoint import Checkpoint
from compress.modeling.surgery import head_columns
from compress.pruning.importance import Importance, Site, measure
from compress.training.batches import Examples

# The Gram matrix is dear, and known well enough from ten tokens for each input of BERT-base's FFN.
_TOKENS = 32_768
_RIDGE = 1e-2


def surgeon_importance(checkpoint: Checkpoint, examples: Examples, batch_size: int, seed: int) -> Importance:
    """How much the loss rises when units are removed one by one, the least important first, and the rest is refitted.

    The loss is taken by its quadratic approximation: the squared error of a block's output, token by token, weighted by
    the mean outer product of the loss's gradients there. The unit removed last has the largest score, and the scores of
    a block add up to the loss of removing all of it.
    """
    return measure(_Projection, checkpoint, examples, batch_size, seed)


class _Projection(Site):
    """The inputs of an output projection, and the gradients at its outputs, summed over tokens."""

    def __init__(self, linear: nn.Linear, unit: int, step: int) -> None:
        super().__init__(linear, unit, step)
        inputs, outputs = linear.in_features, linear.out_features
        self._gram = torch.zeros(inputs, inputs, dtype=torch.float64)
        self._input_sum = torch.zeros(inputs, dtype=torch.float64)
        self._gradients = torch.zeros(outputs, outputs, dtype=torch.float64)
        self._tokens = 0  # in the Gram matrix

    def hook(self) -> RemovableHandle:
        return self.linear.register_forward_hook(self._add_zeros)

    def _add_zeros(self, _: nn.Module, inputs: tuple[torch.Tensor], outputs: torch.Tensor) -> torch.Tensor:
        """The outputs plus zeros, whose gradients are those of the outputs."""
        self._inputs, self._zeros = inputs[0].detach(), torch.zeros_like(outputs, requires_grad=True)
        return outputs + self._zeros

    def collect(self) -> None:
        assert self._zeros.grad is not None
        counted = self._zeros.grad.abs().amax(dim=-1) > 0  # the loss does not depend on the other tokens
        inputs, gradients = self._inputs[counted], self._zeros.grad[counted]
        self._gradients += gradients.T @ gradients
        if self._tokens < _TOKENS:
            self._tokens += len(inputs)
            self._input_sum += inputs.sum(dim=0)
            self._gram += inputs.T @ inputs

    def scores(self) -> torch.Tensor:
        mean = self._input_sum / max(1, self._tokens)
        if self.linear.bias is None:  # then nothing makes up for the units' mean
            mean.zero_()
        covariance = self._gram / max(1, self._tokens) - mean.outer(mean)
        if len(covariance):
            ridge = (_RIDGE * covariance.diagonal().mean()).clamp(min=torch.finfo(torch.float64).tiny)
            covariance.diagonal().add_(ridge)
        weight = _root(self._gradients) @ self.linear.weight.detach().double()
        return removal_scores(covariance, weight, self.unit, self.step)


def removal_scores(gram: torch.Tensor, weight: torch.Tensor, unit: int, step: int) -> torch.Tensor:
    """How much removing each unit adds to the squared error; the ``step`` units that add least are removed at a time.

    Args:
        gram: the Gram matrix of the inputs or their covariance, ``[in, in]``, positive definite.
        weight: the projection's weight, ``[out, in]``.
        unit: columns in a unit.
        step: units removed at a time.
    """
    inverse, left = torch.linalg.inv(gram), torch.arange(len(gram) // unit)
    groups: list[torch.Tensor] = []
    errors: list[float] = []
    while len(left):
        removed = torch.argsort(_errors_of_single_units(inverse, weight, unit), stable=True)[:step].sort().values
        error, inverse, weight = _remove(inverse, weight, head_columns(removed, unit))
        groups.append(left[removed])
        errors.append(error / len(removed))
        left = left[torch.isin(torch.arange(len(left)), removed, invert=True)]
    return _monotone_scores(groups, errors)


def _remove(
    inverse: torch.Tensor, weight: torch.Tensor, columns: torch.Tensor
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """The squared error that removing ``columns`` adds, and the inverse and the refitted weight of those that stay."""
    solved = torch.linalg.solve(inverse[columns][:, columns], torch.cat([inverse[columns], weight[:, columns].T], 1))
    error = float((weight[:, columns] * solved[:, len(inverse) :].T).sum())
    stays = torch.ones(len(inverse), dtype=torch.bool)
    stays[columns] = False
    change = solved[:, : len(inverse)][:, stays]
    weight = weight[:, stays] - weight[:, columns] @ change
    return error, inverse[stays][:, stays] - inverse[stays][:, columns] @ change, weight


def _monotone_scores(groups: list[torch.Tensor], errors: list[float]) -> torch.Tensor:
    """Scores that rise in the order of removal, so that the units with the largest scores are those removed last.

    Where an error is below those before it, each of these groups gets their mean.
    """
    scores = torch.zeros(sum(map(len, groups)), dtype=torch.float64)
    monotone = isotonic_regression(errors, weights=[len(group) for group in groups]).x.tolist() if errors else []
    for rank, (group, score) in enumerate(zip(groups, monotone, strict=True)):
        scores[group] = score * (1 + 1e-9 * rank)
    return scores


def _errors_of_single_units(inverse: torch.Tensor, weight: torch.Tensor, unit: int) -> torch.Tensor:
    """The squared error that removing each unit alone adds, ``[units]``."""
    units = len(inverse) // unit
    grid = inverse.reshape(units, unit, units, unit)
    blocks = grid[torch.arange(units), :, torch.arange(units), :]  # [units, unit, unit]
    columns = weight.T.reshape(units, unit, -1)
    solved: torch.Tensor = torch.linalg.solve(blocks, columns)
    return (columns * solved).sum(dim=(1, 2))


def _root(matrix: torch.Tensor) -> torch.Tensor:
    """A square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: torch.Tensor = values.clamp(min=0).sqrt()[:, None] * vectors.T
    return root
