"""DistilBERT by its table alone: the same function in every form."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from compress.families.distilbert import DISTILBERT
from compress.families.view import EncoderView
from compress.graph.build import graph_of
from compress.latency.deployment import parameters, random_model
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.narrow import narrow
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.modeling.states import recording
from compress.modeling.widths import Architecture, Widths
from tests.tiny import VOCABULARY, make_bert, make_feeds, torch_logits

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "dim": 64,
    "n_layers": 4,
    "n_heads": 4,
    "hidden_dim": 128,
    "max_position_embeddings": 128,
}
EVEN, UNEVEN = Widths.even(4, 4, 128), Widths((4, 0, 2, 3), (128, 64, 0, 32))


def make_distilbert(widths: Widths = EVEN, labels: int = 2, **settings: Any) -> PreTrainedModel:
    """No weight is 0 or 1 as a fresh model's are."""
    torch.manual_seed(0)
    shape = SHAPE | {"num_labels": labels} | settings
    per_layer = {"heads_per_layer": list(widths.heads), "neurons_per_layer": list(widths.neurons)}
    model: PreTrainedModel
    with quiet_transformers():
        if widths == EVEN:
            model = DistilBertForSequenceClassification(DistilBertConfig(**shape))
        else:
            model = pruned_classifier(DISTILBERT)(
                pruned_config(DISTILBERT)(**shape, **per_layer, attention_head_size=16)
            )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if name.lower().endswith("norm.weight") else 0.0, 0.2)
    model.train(mode=False)
    return model


def feeds_of(batch: int, length: int, *, padded: bool = False) -> dict[str, Any]:
    feeds = make_feeds(batch, length, padded=padded)
    return {name: feeds[name] for name in DISTILBERT.inputs}


def apart(one: PreTrainedModel, other: PreTrainedModel) -> float:
    return max(
        float(np.abs(torch_logits(one, feeds) - torch_logits(other, feeds)).max())
        for feeds in (feeds_of(4, 17, padded=True), feeds_of(1, 5))
    )


@pytest.mark.parametrize("widths", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_graph_answers_as_transformers_does_and_reads_no_segments(widths: Widths, activation: str) -> None:
    model = make_distilbert(widths, labels=3, activation=activation)
    graph = graph_of(model).SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["input_ids", "attention_mask"]
    for batch in (1, 7):
        for length in (1, 33, 128):
            for padded in (False, True):
                feeds = feeds_of(batch, length, padded=padded)
                logits = session.run(["logits"], feeds)[0]
                assert np.abs(logits - torch_logits(model, feeds)).max() < 1e-4, (batch, length, padded)


def test_a_berts_weights_in_distilberts_form_give_the_same_states() -> None:
    """Of one segment, which the positions then hold. Only the heads differ."""
    bert, model = make_bert(), make_distilbert()
    own, its = EncoderView(model), EncoderView(bert)
    with torch.no_grad():
        own.words.weight.copy_(its.words.weight)
        own.positions.weight.copy_(its.positions.weight + its.tables[2].weight[0])
        own.norm.load_state_dict(its.norm.state_dict())
        for layer, other in zip(own.layers, its.layers, strict=True):
            for part in (
                "query",
                "key",
                "value",
                "attention_output",
                "attention_norm",
                "ffn_input",
                "ffn_output",
                "ffn_norm",
            ):
                getattr(layer, part).load_state_dict(getattr(other, part).state_dict())
    feeds = make_feeds(5, 20, padded=True)
    feeds["token_type_ids"][:] = 0
    names = ["embeddings", *(f"{kind}.{layer}" for kind in ("hidden", "query", "key", "value") for layer in range(4))]
    with recording(bert, names) as expected, recording(model, names) as found:
        torch_logits(bert, feeds)
        torch_logits(model, {name: feeds[name] for name in DISTILBERT.inputs})
    kept = torch.from_numpy(feeds["attention_mask"]).bool()
    for name in names:
        assert (found[name][kept] - expected[name][kept]).abs().max() < 1e-4, name


@pytest.mark.parametrize("widths", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_narrower_copies_are_of_the_family(widths: Widths) -> None:
    model = make_distilbert(widths)
    assert apart(narrow(model, None, None, None), model) == 0
    stock = narrow(model, 1, 32, 16) if widths == EVEN else None
    assert stock is None or (type(stock), stock.config.hidden_dim) == (DistilBertForSequenceClassification, 32)
    narrower = narrow(model, 2, 48, 37)
    assert (type(narrower), narrower.config.dim) == (pruned_classifier(DISTILBERT), 37)
    assert np.isfinite(torch_logits(narrower, feeds_of(2, 9))).all()


def test_models_to_time_are_of_its_shape() -> None:
    model = make_distilbert(UNEVEN)
    architecture = Architecture.of(model)
    assert (architecture.segments, architecture.activation) == (0, "gelu")
    assert parameters(architecture, UNEVEN) == random_model(architecture, UNEVEN).num_parameters()
    graph = graph_of(random_model(architecture, UNEVEN))
    assert [value.name for value in graph.graph.input] == ["input_ids", "attention_mask"]
