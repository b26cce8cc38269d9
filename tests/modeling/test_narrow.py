"""Narrower copies: what goes is what matters least, what stays is the teacher's, and the result is a model like any."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from transformers import BertForSequenceClassification, PreTrainedModel

import compress
from compress.families.bert import BERT
from compress.modeling.checkpoint import load_classifier, save_checkpoint
from compress.modeling.narrow import narrow
from compress.modeling.pruned import pruned_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import predict_logits
from tests.conftest import FILLERS, WORDS
from tests.tiny import (
    HEAD_SIZE,
    HIDDEN,
    make_bert,
    make_checkpoint,
    make_feeds,
    parts,
    same_weights,
    torch_logits,
    weights_of,
)

UNEVEN: dict[str, Any] = {"heads": (4, 0, 3, 1), "neurons": (96, 32, 0, 64)}
Widths = tuple[int | None, int | None, int | None]  # heads, neurons, hidden
SHAPES: dict[str, tuple[dict[str, Any], Widths]] = {
    "heads": (UNEVEN, (3, None, None)),
    "neurons": ({}, (None, 50, None)),
    "hidden": (UNEVEN, (None, None, 37)),
    "all, and a stock BERT": ({}, (2, 64, 2 * HEAD_SIZE)),
    "one of each": (UNEVEN, (1, 1, 1)),
}


def layers_of(model: PreTrainedModel) -> Any:
    return parts(model).bert.encoder.layer


def apart(one: PreTrainedModel, other: PreTrainedModel) -> float:
    feeds = make_feeds(6, 20, padded=True)
    return float(np.abs(torch_logits(one, feeds) - torch_logits(other, feeds)).max())


def head_columns(heads: list[int]) -> list[int]:
    return [head * HEAD_SIZE + offset for head in heads for offset in range(HEAD_SIZE)]


@pytest.mark.parametrize("widths", [{}, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize(
    "all_of_it",
    [(None, None, None), (4, None, None), (None, 128, None), (None, None, HIDDEN), (4, 128, HIDDEN)],
)
def test_keeping_everything_changes_no_bit(widths: dict[str, Any], all_of_it: Widths) -> None:
    model = make_bert(**widths)
    heads, neurons, hidden = all_of_it
    same = narrow(model, heads=heads, ffn_size=neurons, hidden_size=hidden)
    assert type(same) is type(model)
    assert same_weights(weights_of(same), weights_of(model))
    assert apart(same, model) == 0


@pytest.mark.parametrize(("widths", "shape"), SHAPES.values(), ids=SHAPES)
def test_a_narrow_model_saves_reloads_bit_for_bit_and_exports(
    tiny_encoder: Path, tmp_path: Path, widths: dict[str, Any], shape: Widths
) -> None:
    labels = ("a", "b", "c")
    heads, neurons, hidden = shape
    narrower = narrow(make_bert(labels=3, **widths), heads=heads, ffn_size=neurons, hidden_size=hidden)
    save_checkpoint(make_checkpoint(tiny_encoder, narrower, labels), tmp_path / "narrow")
    again = load_classifier(str(tmp_path / "narrow"))
    assert type(again.model) is type(narrower)
    assert same_weights(weights_of(again.model), weights_of(narrower))
    assert apart(again.model, narrower) == 0
    texts = [" ".join([*FILLERS[:count], *WORDS["negative"][count:]]) for count in range(1, 8)]
    compress.export(tmp_path / "narrow", tmp_path / "onnx", threads=1)
    logits = compress.load(tmp_path / "onnx").logits(texts)
    assert np.abs(logits - predict_logits(TorchPredictor(again), texts)).max() < 1e-4


def test_an_even_model_whose_heads_fill_the_hidden_size_is_a_stock_bert() -> None:
    stock = narrow(make_bert(), heads=2, ffn_size=64, hidden_size=2 * HEAD_SIZE)
    assert type(stock) is BertForSequenceClassification
    config = stock.config
    assert (config.model_type, config.hidden_size, config.num_attention_heads) == ("bert", 32, 2)
    assert (config.intermediate_size, config.num_hidden_layers) == (64, 4)
    uneven = make_bert(heads=(4, 3), neurons=(96, 64))
    assert type(narrow(uneven, heads=3, ffn_size=64, hidden_size=3 * HEAD_SIZE)) is BertForSequenceClassification


@pytest.mark.parametrize("widths", [(2, None, None), (None, None, 32), (2, 64, 31)])
def test_another_shape_is_a_pruned_bert_that_says_its_widths(widths: Widths) -> None:
    heads, neurons, hidden = widths
    narrower = narrow(make_bert(), heads=heads, ffn_size=neurons, hidden_size=hidden)
    assert type(narrower) is pruned_classifier(BERT)
    config = narrower.config
    assert config.heads_per_layer == [heads or 4] * 4
    assert config.neurons_per_layer == [neurons or 128] * 4
    assert (config.attention_head_size, config.hidden_size) == (HEAD_SIZE, hidden or HIDDEN)
    assert config.intermediate_size == (neurons or 128)


def test_a_layer_with_less_than_asked_keeps_what_it_has() -> None:
    model = make_bert(**UNEVEN)
    narrower = narrow(model, heads=2, ffn_size=48)
    assert narrower.config.heads_per_layer == [2, 0, 2, 1]
    assert narrower.config.neurons_per_layer == [48, 32, 0, 48]
    for part in ("attention", "intermediate"):  # the whole second layer
        ours, theirs = (weights_of(getattr(layers_of(found)[1], part)) for found in (narrower, model))
        assert same_weights(ours, theirs)


def test_the_teacher_stays_as_it_is_and_shares_nothing() -> None:
    model = make_bert()
    before, settings = weights_of(model), model.config.to_dict()
    narrower = narrow(model, heads=2, ffn_size=64, hidden_size=32)
    with torch.no_grad():
        for weight in narrower.parameters():
            weight.zero_()
    assert same_weights(weights_of(model), before)
    assert model.config.to_dict() == settings


def test_nothing_is_random() -> None:
    copies = []
    for seed in (1, 2):
        model = make_bert()
        torch.manual_seed(seed)
        copies.append(weights_of(narrow(model, heads=2, ffn_size=64, hidden_size=40)))
    assert same_weights(*copies)


@pytest.mark.parametrize("dead", ["value", "output", "a constant value"])
def test_heads_that_add_nothing_of_their_own_go_first_and_no_logit_changes(dead: str) -> None:
    model = make_bert()
    alive = [[0, 3], [1, 2], [0, 1], [2, 3]]
    with torch.no_grad():
        for layer, heads in zip(layers_of(model), alive, strict=True):
            gone = head_columns([head for head in range(4) if head not in heads])
            attention = layer.attention
            if dead == "output":
                attention.output.dense.weight[:, gone] = 0
            else:
                attention.self.value.weight[gone] = 0
                attention.self.value.bias[gone] = 0 if dead == "value" else 3.0  # a constant is the bias's business
    narrower = narrow(model, heads=2)
    for ours, theirs, heads in zip(layers_of(narrower), layers_of(model), alive, strict=True):
        assert torch.equal(ours.attention.self.query.weight, theirs.attention.self.query.weight[head_columns(heads)])
    assert apart(narrower, model) < 1e-5
    assert apart(narrow(model, heads=1), model) > 1e-3  # while the others matter


@pytest.mark.parametrize("dead", ["in", "out", "a constant"])
def test_neurons_that_add_nothing_of_their_own_go_first_and_no_logit_changes(dead: str) -> None:
    model = make_bert()
    rng = np.random.default_rng(0)
    alive = [sorted(rng.permutation(128)[:70].tolist()) for _ in range(4)]
    with torch.no_grad():
        for layer, neurons in zip(layers_of(model), alive, strict=True):
            gone = sorted(set(range(128)) - set(neurons))
            layer.intermediate.dense.bias[neurons] = 1.0  # none of these is off for every word
            if dead == "out":
                layer.output.dense.weight[:, gone] = 0
            else:
                layer.intermediate.dense.weight[gone] = 0
                layer.intermediate.dense.bias[gone] = 0 if dead == "in" else 2.0
    narrower = narrow(model, ffn_size=70)
    for ours, theirs, neurons in zip(layers_of(narrower), layers_of(model), alive, strict=True):
        assert torch.equal(ours.intermediate.dense.weight, theirs.intermediate.dense.weight[neurons])
    assert apart(narrower, model) < 1e-5
    assert apart(narrow(model, ffn_size=60), model) > 1e-3


def test_a_layer_whose_ffn_does_nothing_can_be_narrowed() -> None:
    model = make_bert()
    layers_of(model)[1].output.dense.weight.data.zero_()
    narrower = narrow(model, ffn_size=100)
    assert np.isfinite(torch_logits(narrower, make_feeds(2, 9))).all()
    assert not layers_of(narrower)[1].output.dense.weight.any()


def test_the_least_active_neurons_go_even_where_their_weights_are_large() -> None:
    """Norms of weights alone do not see that a neuron's activation is always 0."""
    model = make_bert(heads=(4,), neurons=(128,))
    ffn = layers_of(model)[0]
    with torch.no_grad():
        ffn.intermediate.dense.weight[:20] *= 3
        ffn.output.dense.weight[:, :20] *= 3
        ffn.intermediate.dense.bias[:20] = -200.0
    narrower = narrow(model, ffn_size=108)
    assert torch.equal(layers_of(narrower)[0].intermediate.dense.bias, ffn.intermediate.dense.bias[20:])
    assert apart(narrower, model) < 1e-5


def outputs(model: PreTrainedModel, linear: nn.Module, second: int) -> npt.NDArray[np.float64]:
    """``[tokens, out]`` of one linear layer, on random text with so many tokens of a second one."""
    seen: list[torch.Tensor] = []
    handle = linear.register_forward_hook(lambda _, __, found: seen.append(found))
    feeds = make_feeds(64, 32, seed=5)
    torch_logits(model, feeds | {"token_type_ids": np.broadcast_to(np.arange(32) >= 32 - second, (64, 32)).astype(int)})
    handle.remove()
    return seen[0].flatten(0, 1).double().numpy()


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize(
    ("site", "heads", "neurons"), [("attention.output.dense", 2, None), ("output.dense", None, 40)]
)
def test_sums_keep_their_mean_and_how_much_they_vary(
    site: str, heads: int | None, neurons: int | None, pairs: bool
) -> None:
    model = make_bert(heads=(4,), neurons=(128,))
    narrower = narrow(model, heads=heads, ffn_size=neurons, pairs=pairs)
    whole, cut = (
        outputs(found, layers_of(found)[0].get_submodule(site), second=16 if pairs else 0)
        for found in (model, narrower)
    )
    assert np.linalg.norm(cut.mean(axis=0) - whole.mean(axis=0)) < 0.1 * np.linalg.norm(whole.mean(axis=0))
    assert cut.var(axis=0).sum() == pytest.approx(whole.var(axis=0).sum(), rel=0.2)
    assert not np.allclose(cut, whole, atol=0.1)


def test_a_hidden_dimension_that_is_zero_everywhere_is_the_first_to_go() -> None:
    model, gone = make_bert(), [3, 17, 40]
    kept = [index for index in range(HIDDEN) if index not in gone]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            reads = name.endswith(("query.weight", "key.weight", "value.weight", "intermediate.dense.weight"))
            if "embeddings.weight" in name or reads or name == "bert.pooler.dense.weight":
                weight[:, gone] = 0
            elif "LayerNorm" in name or ".output.dense" in name:
                weight[gone] = 0
    narrower = narrow(model, hidden_size=HIDDEN - 3)
    tables = [parts(found).bert.embeddings.word_embeddings.weight for found in (narrower, model)]
    assert torch.equal(tables[0], tables[1][:, kept])


def test_hidden_dimensions_are_the_same_through_the_whole_model_and_readers_are_scaled() -> None:
    model = make_bert()
    narrower = narrow(model, hidden_size=36)
    ours, theirs = weights_of(narrower), weights_of(model)
    first = ours["bert.embeddings.position_embeddings.weight"][0]
    kept = [theirs["bert.embeddings.position_embeddings.weight"][0].tolist().index(value) for value in first.tolist()]
    assert kept == sorted(kept)
    pooled = [
        theirs["bert.pooler.dense.bias"].tolist().index(value) for value in ours["bert.pooler.dense.bias"].tolist()
    ]
    gain = (HIDDEN / 36) ** 0.5
    expected = {}
    for name, weight in theirs.items():
        part = weight
        if name == "classifier.weight":
            part = weight[:, pooled] * gain
        elif "embeddings.weight" in name:
            part = weight[:, kept]
        elif name == "bert.pooler.dense.weight":
            part = weight[pooled][:, kept] * gain
        elif name == "bert.pooler.dense.bias":
            part = weight[pooled]
        elif name.endswith(("query.weight", "key.weight", "value.weight", "intermediate.dense.weight")):
            part = weight[:, kept] * gain
        elif "LayerNorm" in name or ".output.dense" in name:
            part = weight[kept]
        expected[name] = part
    assert same_weights(ours, expected)


def test_pooled_dimensions_that_the_classifier_ignores_go_first() -> None:
    model = make_bert()
    with torch.no_grad():
        model.classifier.weight[:, 10:30] = 0
    bias = parts(model).bert.pooler.dense.bias
    assert torch.equal(parts(narrow(model, hidden_size=44)).bert.pooler.dense.bias, torch.cat([bias[:10], bias[30:]]))
