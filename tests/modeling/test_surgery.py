"""Cutting equals masking, whatever is cut, and counts are exact."""

from copy import deepcopy
from itertools import compress as selected
from itertools import product

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn
from transformers import BertForSequenceClassification

from compress.errors import CompressError
from compress.modeling.surgery import cut_model
from compress.modeling.widths import Cut
from tests.tiny import HEAD_SIZE, HIDDEN, make_bert, make_feeds, parts, same_weights, torch_logits, weights_of

Widths = tuple[tuple[int, ...], tuple[int, ...]]
WHOLE: Widths = ((4, 4, 4, 4), (128, 128, 128, 128))
UNEVEN: Widths = ((4, 0, 2, 3), (128, 64, 0, 32))


def random_cut(widths: Widths, seed: int) -> Cut:
    rng = np.random.default_rng(seed)

    def some(count: int) -> list[int]:
        return sorted(rng.permutation(count)[: rng.integers(0, count + 1)].tolist())

    return Cut(heads=[some(heads) for heads in widths[0]], neurons=[some(neurons) for neurons in widths[1]])


def masked(model: BertForSequenceClassification, cut: Cut) -> BertForSequenceClassification:
    """The units that ``cut`` leaves out, silenced: the columns that read them are 0. Layers without any are skipped."""
    silenced = deepcopy(model)
    with torch.no_grad():
        for layer, heads, neurons in zip(parts(silenced).bert.encoder.layer, cut.heads, cut.neurons, strict=True):
            output = layer.attention.output.dense.weight
            for head in set(range(output.shape[1] // HEAD_SIZE)) - set(heads):
                output[:, head * HEAD_SIZE : (head + 1) * HEAD_SIZE] = 0
            gone = sorted(set(range(layer.output.dense.weight.shape[1])) - set(neurons))
            layer.output.dense.weight[:, gone] = 0
    kept = [bool(heads or neurons) for heads, neurons in zip(cut.heads, cut.neurons, strict=True)]
    silenced.bert.encoder.layer = nn.ModuleList(selected(silenced.bert.encoder.layer, kept))
    return silenced


def parameters(cut: Cut, labels: int) -> int:
    """By the formula: what a BERT of these widths has."""
    hidden = HIDDEN
    embeddings = (108 + 128 + 2) * hidden + 2 * hidden
    head = hidden * hidden + hidden + hidden * labels + labels
    total = embeddings + head
    for heads, neurons in zip(cut.heads, cut.neurons, strict=True):
        if not heads and not neurons:
            continue
        width = HEAD_SIZE * len(heads)
        total += 3 * (hidden * width + width) + width * hidden + hidden  # attention
        total += hidden * len(neurons) + len(neurons) + len(neurons) * hidden + hidden  # FFN
        total += 4 * hidden  # norms
    return total


@pytest.mark.parametrize("widths", [WHOLE, UNEVEN], ids=["whole", "already pruned"])
@pytest.mark.parametrize("seed", range(4))
def test_a_cut_model_answers_as_the_masked_one(widths: Widths, seed: int) -> None:
    model, cut = make_bert(*widths, labels=3, activation="relu"), random_cut(widths, seed)
    before = weights_of(model)
    pruned = cut_model(model, cut)
    for feeds in (make_feeds(4, 17, padded=True), make_feeds(1, 5)):
        expected = torch_logits(masked(model, cut), feeds)
        assert np.abs(torch_logits(pruned, feeds) - expected).max() < 1e-5
        assert np.abs(torch_logits(model, feeds) - expected).max() > 1e-3  # the cut did matter
    assert same_weights(weights_of(model), before)
    assert pruned.num_parameters() == sum(weight.numel() for weight in pruned.parameters()) == parameters(cut, 3)
    assert pruned.config.heads_per_layer == [len(cut.heads[layer]) for layer in cut.layers]
    assert pruned.config.neurons_per_layer == [len(cut.neurons[layer]) for layer in cut.layers]
    assert pruned.config.num_hidden_layers == len(parts(pruned).bert.encoder.layer) == len(cut.layers)


KEPT_HEADS = {"all": [0, 1, 2, 3], "some": [1, 3], "no": []}
KEPT_NEURONS = {"all": list(range(128)), "some": [*range(10, 30), 77, *range(100, 111)], "no": []}
OF_A_LAYER = list(product(KEPT_HEADS, KEPT_NEURONS))  # no heads and no neurons: the layer is dropped


@pytest.mark.parametrize("first", range(9), ids=["{} heads, {} neurons".format(*kept) for kept in OF_A_LAYER])
def test_every_combination_of_layers_is_cut_as_it_is_masked(first: int) -> None:
    """Over all tests each choice for one of three layers meets each choice for any other: a Latin square."""
    model, feeds = make_bert((4, 4, 4), (128, 128, 128)), make_feeds(3, 7, padded=True)
    for second in range(9):
        kept = [OF_A_LAYER[choice] for choice in (first, second, (first + second) % 9)]
        cut = Cut([KEPT_HEADS[heads] for heads, _ in kept], [KEPT_NEURONS[neurons] for _, neurons in kept])
        expected = torch_logits(masked(model, cut), feeds)
        assert np.abs(torch_logits(cut_model(model, cut), feeds) - expected).max() < 1e-5, kept


def test_a_cut_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(CompressError, match="at least one layer"):
        cut_model(make_bert(), Cut([[]] * 4, [[]] * 4))


def test_a_cut_tells_what_it_keeps() -> None:
    assert str(Cut([[0, 1], [0]], [[1, 2], []])) == "heads [2, 1], neurons [2, 0]"
    assert str(Cut([[0, 1], [], []], [[1, 2], [], [3]])) == "layers [0, 2] of 3, heads [2, 0], neurons [2, 1]"


def test_a_cut_is_what_torch_pruning_makes_of_it() -> None:
    """Its dependency groups are traced through the forward pass; ours are read off the family's table."""
    model = make_bert()
    cut = Cut(heads=[[0, 2], [1], [0, 1, 2, 3], [3]], neurons=[[*range(32)], [5, 9, 64], [*range(128)], [7]])
    reference = deepcopy(model).eval()
    ids = torch.arange(8).reshape(2, 4)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    graph = torch_pruning.DependencyGraph().build_dependency(reference, example_inputs=inputs)
    for layer, heads, neurons in zip(parts(reference).bert.encoder.layer, cut.heads, cut.neurons, strict=True):
        columns = {head * HEAD_SIZE + offset for head in heads for offset in range(HEAD_SIZE)}
        for linear, kept in ((layer.attention.self.query, columns), (layer.intermediate.dense, set(neurons))):
            if removed := sorted(set(range(linear.out_features)) - kept):
                graph.get_pruning_group(linear, torch_pruning.prune_linear_out_channels, removed).prune()
    assert same_weights(weights_of(cut_model(model, cut)), weights_of(reference))
