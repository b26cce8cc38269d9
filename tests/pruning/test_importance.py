"""Fisher importance against its definition, computed the slow way."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.data import Split
from compress.modeling.checkpoint import Checkpoint
from compress.pruning.importance import Importance, fisher_importance
from compress.training.finetune import encode
from compress.training.optimization import hard_labels
from tests.tiny import HEAD_SIZE, make_bert, make_checkpoint, parts

SPLIT = Split(
    ["good", "a very bad film with a dull story and awful fun", "the film", "great", "boring mess of a film is bad"],
    [("a",), ("b",), ("a",), ("c",), ("b",)],
)
LABELS = ("a", "b", "c")
HEADS, NEURONS = (4, 0, 2, 3), (128, 64, 0, 32)


def checkpoint(tokenizer: Path, task: str = "single_label") -> Checkpoint:
    return make_checkpoint(tokenizer, make_bert(HEADS, NEURONS, labels=3), LABELS, task)


def measure(model: Checkpoint, batch_size: int = 2) -> Importance:
    return fisher_importance(model, encode(model, SPLIT), batch_size, seed=0)


def by_hand(checkpoint: Checkpoint) -> Importance:
    """Text by text, unpadded. A mask on a unit scales the weights that read it: d loss/d mask = sum(w * d loss/dw)."""
    layers = parts(checkpoint.model).bert.encoder.layer
    heads = [torch.zeros(count, dtype=torch.float64) for count in HEADS]
    neurons = [torch.zeros(count, dtype=torch.float64) for count in NEURONS]
    targets = SPLIT.targets(LABELS, checkpoint.task)
    for row, encoding in enumerate(checkpoint.encoder(SPLIT.texts)):
        logits = checkpoint.model(input_ids=torch.tensor([encoding.ids])).logits
        hard_labels(logits, torch.from_numpy(targets[row : row + 1])).backward()
        for index, layer in enumerate(layers):
            for totals, linear in ((heads, layer.attention.output.dense), (neurons, layer.output.dense)):
                columns = (linear.weight * linear.weight.grad).sum(dim=0).double()
                if len(columns):
                    totals[index] += columns.reshape(len(totals[index]), -1).sum(dim=1).square().detach()
        checkpoint.model.zero_grad()
    return Importance(heads, neurons)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_importance_is_the_sum_of_squared_mask_gradients_of_single_texts(
    tiny_encoder: Path, task: str, batch_size: int
) -> None:
    model = checkpoint(tiny_encoder, task)
    expected, found = by_hand(model), measure(model, batch_size)
    for one, other in zip(expected.heads + expected.neurons, found.heads + found.neurons, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-3, atol=1e-9)
    assert max(float(scores.max()) for scores in found.heads if len(scores)) > 1e-4


def test_units_that_nothing_reads_have_no_importance(tiny_encoder: Path) -> None:
    model = checkpoint(tiny_encoder)
    layer = parts(model.model).bert.encoder.layer[2]
    layer_0 = parts(model.model).bert.encoder.layer[0]
    with torch.no_grad():
        layer.attention.output.dense.weight[:, HEAD_SIZE : 2 * HEAD_SIZE] = 0
        layer_0.output.dense.weight[:, 7] = 0
    found = measure(model)
    assert found.heads[2][1] == 0 < found.heads[2][0]
    assert found.neurons[0][7] == 0
    assert (found.neurons[0] > 0).sum() > 100


def test_a_faint_head_has_little_importance(tiny_encoder: Path) -> None:
    """Heads whose output is faint must rank below loud ones."""
    model = checkpoint(tiny_encoder)
    with torch.no_grad():
        parts(model.model).bert.encoder.layer[3].attention.output.dense.weight[:, :HEAD_SIZE] *= 0.01
    found = measure(model)
    assert found.heads[3][0] < 1e-2 * found.heads[3][1:].min()


def test_nothing_stays_in_the_model_after_a_failure_either(tiny_encoder: Path) -> None:
    model = checkpoint(tiny_encoder)
    examples = encode(model, SPLIT)
    with pytest.raises(IndexError):
        fisher_importance(model, replace(examples, targets=examples.targets + 7), 2, seed=0)
    assert not any(module._forward_pre_hooks for module in model.model.modules())
