"""How much heads and neurons matter once what stays has been refitted: Optimal Brain Surgeon on output projections.

Squared gradients on masks tell what a unit is worth while all others are there. A layer that is cut by half may lose
several units that do the same work: any of them could be removed, but not all. Here a unit is worth the error that
least squares cannot make up for when it is removed after all units that matter less (Hassibi and Stork 1993; for
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

# The products of all pairs of inputs are dear, and known well enough from ten tokens for each input of BERT-base's FFN.
_TOKENS = 32_768
_RIDGE = 1e-2


def surgeon_importance(checkpoint: Checkpoint, examples: Examples, batch_size: int, seed: int) -> Importance:
    """What the loss rises by when units are removed one by one, the least important first, and the rest is refitted.

    The rise is that of the loss's quadratic approximation: the squared error of a block's output, token by token,
    weighted by the mean outer product of the loss's gradients there. The last unit to be removed has the largest score,
    and the scores of a block add up to the loss of removing all of it.
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
        self._tokens = 0  # that the gram matrix is of

    def hook(self) -> RemovableHandle:
        return self.linear.register_forward_hook(self._look)

    def _look(self, _: nn.Module, given: tuple[torch.Tensor], outputs: torch.Tensor) -> torch.Tensor:
        """The outputs as they are, with a place for their gradients."""
        self._inputs, self._zeros = given[0].detach(), torch.zeros_like(outputs, requires_grad=True)
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
        if self.linear.bias is None:  # then nothing makes up for what the units add on average
            mean.zero_()
        covariance = self._gram / max(1, self._tokens) - mean.outer(mean)
        if len(covariance):
            ridge = (_RIDGE * covariance.diagonal().mean()).clamp(min=torch.finfo(torch.float64).tiny)
            covariance.diagonal().add_(ridge)
        weight = _root(self._gradients) @ self.linear.weight.detach().double()
        return removal(covariance, weight, self.unit, self.step)


def removal(gram: torch.Tensor, weight: torch.Tensor, unit: int, step: int) -> torch.Tensor:
    """What each unit's going adds to the squared error, when ``step`` of those that add least go at a time.

    Args:
        gram: of the inputs, or what it is a mean of, ``[in, in]``, positive definite.
        weight: ``[out, in]``.
        unit: columns of a unit.
        step: units.
    """
    inverse, left = torch.linalg.inv(gram), torch.arange(len(gram) // unit)
    groups: list[torch.Tensor] = []
    errors: list[float] = []
    while len(left):
        going = torch.argsort(_alone(inverse, weight, unit), stable=True)[:step].sort().values
        error, inverse, weight = _without(inverse, weight, head_columns(going, unit))
        groups.append(left[going])
        errors.append(error / len(going))
        left = left[torch.isin(torch.arange(len(left)), going, invert=True)]
    return _rising(groups, errors)


def _without(
    inverse: torch.Tensor, weight: torch.Tensor, columns: torch.Tensor
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """What the going of ``columns`` adds to the squared error, the inverse of those that stay, and their new weight."""
    solved = torch.linalg.solve(inverse[columns][:, columns], torch.cat([inverse[columns], weight[:, columns].T], 1))
    error = float((weight[:, columns] * solved[:, len(inverse) :].T).sum())
    stays = torch.ones(len(inverse), dtype=torch.bool)
    stays[columns] = False
    change = solved[:, : len(inverse)][:, stays]
    weight = weight[:, stays] - weight[:, columns] @ change
    return error, inverse[stays][:, stays] - inverse[stays][:, columns] @ change, weight


def _rising(groups: list[torch.Tensor], errors: list[float]) -> torch.Tensor:
    """Scores that rise in the order in which units go: whoever keeps the largest keeps what was left at that point.

    Where an error is below those before it, they share what they add up to.
    """
    scores = torch.zeros(sum(map(len, groups)), dtype=torch.float64)
    rising = isotonic_regression(errors, weights=[len(group) for group in groups]).x.tolist() if errors else []
    for rank, (group, score) in enumerate(zip(groups, rising, strict=True)):
        scores[group] = score * (1 + 1e-9 * rank)
    return scores


def _alone(inverse: torch.Tensor, weight: torch.Tensor, unit: int) -> torch.Tensor:
    """What each unit's going alone adds to the squared error, ``[units]``."""
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
