"""The surgeon's importance against its definition: what the best refit of what stays cannot make up for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.config import PruneConfig
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.surgery import cut_model
from compress.modeling.torch_predictor import TorchPredictor
from compress.modeling.widths import NEURON_BLOCK
from compress.pruning.ranking import rank
from compress.pruning.reconstruct import reconstruct
from compress.pruning.rounds import Budget, choose
from compress.pruning.surgeon import removal_scores, surgeon_importance
from compress.runtime.predictor import predict_logits
from compress.training.batches import Examples
from compress.training.finetune import encode
from tests.tiny import (
    HEAD_SIZE,
    parts,
    read,
)


def problem(seed: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated inputs ``[rows, columns]``, and weights of seven outputs."""
    rng = torch.Generator().manual_seed(seed)
    numbers = [
        torch.randn(*shape, generator=rng, dtype=torch.float64)
        for shape in ((500, columns), (columns, columns), (7, columns))
    ]
    return numbers[0] @ numbers[1], numbers[2]


@pytest.mark.parametrize(("unit", "step"), [(1, 1), (1, 4), (8, 1), (4, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_what_goes_costs_what_the_best_refit_of_the_rest_leaves(unit: int, step: int, seed: int) -> None:
    inputs, weight = problem(seed, 40)
    scores = removal_scores(inputs.T @ inputs, weight, unit, step)
    order = torch.argsort(scores)
    outputs = inputs @ weight.T
    for gone in range(step, len(order), step):
        columns = (order[gone:, None] * unit + torch.arange(unit)).flatten()
        refit = torch.linalg.lstsq(inputs[:, columns], outputs).solution
        error = (outputs - inputs[:, columns] @ refit).square().sum()
        assert 0.9 * error < scores[order[:gone]].sum() < 1.00001 * error
    assert scores.sum().item() == pytest.approx(outputs.square().sum().item(), rel=1e-5)


def test_of_two_units_that_do_the_same_work_one_is_free_and_the_other_is_not() -> None:
    inputs, weight = problem(0, 10)
    inputs[:, 7] = 2 * inputs[:, 3] + 1e-6 * inputs[:, 7]
    scores = removal_scores(inputs.T @ inputs, weight, unit=1, step=1)
    assert scores.argmin() in (3, 7)
    assert scores.min() < 1e-6 * scores.median()
    assert max(scores[3], scores[7]) > 0.1 * scores.median()


def test_units_that_nothing_reads_or_that_never_change_cost_little(uneven: Checkpoint, sample: Examples) -> None:
    layers = parts(uneven.model).bert.encoder.layer
    with torch.no_grad():
        layers[2].attention.output.dense.weight[:, HEAD_SIZE : 2 * HEAD_SIZE] = 0
        layers[0].output.dense.weight[:, 32:64] = 0
        layers[1].intermediate.dense.weight[:NEURON_BLOCK] = 0  # what is constant the bias can take over
    found = surgeon_importance(uneven, sample, batch_size=8, seed=0)
    assert found.heads[2][1] < 1e-9 * found.heads[2][0]
    assert found.neurons[0][32:64].max() < 1e-9 * found.neurons[0].max()
    constant, others = found.neurons[1].split(NEURON_BLOCK)
    assert constant.mean() < 0.5 * others.mean()


def test_how_texts_are_batched_does_not_matter(uneven: Checkpoint, sample: Examples) -> None:
    one, other = (surgeon_importance(uneven, sample, batch_size, seed=0) for batch_size in (2, 16))
    for some, same in zip(one.heads + one.neurons, other.heads + other.neurons, strict=True):
        torch.testing.assert_close(same, some, rtol=1e-3, atol=1e-9 * float(some.max()) if len(some) else 0.0)


def test_refitted_its_choice_stays_nearer_to_the_model_than_the_others(tiny_torch: Path, tiny_data: Path) -> None:
    whole, data = load_classifier(str(tiny_torch)), read(tiny_data)
    train = encode(whole, data.train)
    wanted = predict_logits(TorchPredictor(whole), data.validation.texts)

    def distance(importance: Any) -> float:
        cut = choose(rank(whole, train, PruneConfig(heads=0.5, importance=importance)), Budget(6, 6 * NEURON_BLOCK))
        refit = reconstruct(cut_model(whole.model, cut), whole.model, cut.layers, train, 32, seed=0)
        logits = predict_logits(TorchPredictor(whole.with_model(refit)), data.validation.texts)
        return float(np.square(logits - wanted).mean())

    assert distance("surgeon") < min(distance("magnitude"), distance("random"))
