"""After least squares a cut model gives what the whole one gave, as near as what is left of it can."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from compress.modeling.checkpoint import Checkpoint
from compress.modeling.surgery import cut_model
from compress.modeling.widths import Cut
from compress.pruning.reconstruct import reconstruct
from compress.training.batches import Examples
from compress.training.finetune import encode
from tests.tiny import (
    HEAD_SIZE,
    make_bert,
    make_checkpoint,
    make_feeds,
    parts,
    read,
    same_weights,
    torch_logits,
    weights_of,
)

ALL_HEADS, ALL_NEURONS = list(range(4)), list(range(128))
CUTS = {
    "half of everything": Cut([[0, 2]] * 4, [ALL_NEURONS[::2]] * 4),
    "no heads here, no neurons there": Cut([[], [0, 1], [3], [0]], [ALL_NEURONS, [], [1, 2, 3], ALL_NEURONS[:64]]),
    "a layer dropped": Cut([ALL_HEADS, [], ALL_HEADS, [1, 2]], [ALL_NEURONS, [], ALL_NEURONS[:32], ALL_NEURONS]),
}


@pytest.fixture
def whole(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(), ("negative", "positive"))


@pytest.fixture
def sample(whole: Checkpoint, tiny_data: Path) -> Examples:
    return encode(whole, read(tiny_data).train.of_rows(range(96)))


def refit(
    whole: Checkpoint, cut: Cut, sample: Examples, batch_size: int = 32
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The model as it is cut, and refitted."""
    pruned = cut_model(whole.model, cut)
    return pruned, reconstruct(pruned, whole.model, cut.layers, sample, batch_size, seed=0)


def distance(one: Checkpoint, other: PreTrainedModel, sample: Examples) -> float:
    """Mean squared difference of the last hidden states over the real tokens of a sample."""
    batch = sample.batch(range(len(sample)))
    real = batch["attention_mask"].bool()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        states = [parts(model).bert(**inputs).last_hidden_state[real] for model in (one.model, other)]
    return float((states[0] - states[1]).square().mean())


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_the_refitted_model_is_nearer_on_texts_that_it_was_not_fitted_to(
    whole: Checkpoint, sample: Examples, tiny_data: Path, cut: Cut
) -> None:
    before = weights_of(whole.model)
    pruned, fitted = refit(whole, cut, sample)
    fresh = encode(whole, read(tiny_data).test)
    assert distance(whole, fitted, fresh) < 0.8 * distance(whole, pruned, fresh)
    assert same_weights(weights_of(whole.model), before)
    assert same_weights(weights_of(pruned), weights_of(cut_model(whole.model, cut)))
    assert fitted.config.to_dict() == pruned.config.to_dict()


def test_where_nothing_was_cut_nothing_changes(whole: Checkpoint, sample: Examples) -> None:
    pruned, fitted = refit(whole, Cut([ALL_HEADS] * 4, [ALL_NEURONS] * 4), sample)
    assert same_weights(weights_of(fitted), weights_of(pruned))


def test_units_that_others_can_stand_in_for_cost_nothing(whole: Checkpoint, sample: Examples) -> None:
    """Neuron 1 of layer 1 does what neuron 0 does, head 3 of layer 2 what head 0 does; the copies are cut."""
    layers = parts(whole.model).bert.encoder.layer
    with torch.no_grad():
        ffn, attention = layers[1].intermediate.dense, layers[2].attention.self
        ffn.weight[1], ffn.bias[1] = ffn.weight[0], ffn.bias[0]
        for part in (attention.query, attention.key, attention.value):
            part.weight[-HEAD_SIZE:], part.bias[-HEAD_SIZE:] = part.weight[:HEAD_SIZE], part.bias[:HEAD_SIZE]
    heads, neurons = [ALL_HEADS] * 4, [ALL_NEURONS] * 4
    cut = Cut([*heads[:2], [0, 1, 2], ALL_HEADS], [ALL_NEURONS, [0, *ALL_NEURONS[2:]], *neurons[:2]])
    pruned, fitted = refit(whole, cut, sample)
    assert distance(whole, fitted, sample) < 0.01 * distance(whole, pruned, sample)


def test_how_texts_are_batched_and_padded_does_not_matter(whole: Checkpoint, sample: Examples) -> None:
    cut, feeds = CUTS["a layer dropped"], make_feeds(5, 20, padded=True)
    one, other = (torch_logits(refit(whole, cut, sample, batch_size)[1], feeds) for batch_size in (4, 64))
    assert np.abs(one - other).max() < 1e-3


def test_only_output_projections_change(whole: Checkpoint, sample: Examples) -> None:
    pruned, fitted = refit(whole, CUTS["half of everything"], sample)
    before, after = weights_of(pruned), weights_of(fitted)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".output.dense." in name}
