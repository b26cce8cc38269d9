"""A BERT's weights in other families' forms are the same function."""

import pytest
import torch

from benchmarks.families import FORMS, carried
from compress.families import FAMILIES
from compress.families.view import EncoderView
from compress.modeling.states import recording
from tests.tiny import make_bert, make_feeds, torch_logits


@pytest.mark.parametrize("name", FORMS)
def test_a_berts_weights_in_another_form_are_the_same_function(name: str) -> None:
    """The head too, where it is as BERT's; else its states are compared in the place of logits."""
    bert, family = make_bert(labels=3), FAMILIES[name]
    model = carried(bert, family)
    feeds = make_feeds(5, 20, padded=True)
    feeds["token_type_ids"][:] = 0
    kept = torch.from_numpy(feeds["attention_mask"]).bool()
    names = ["embeddings", *(f"{kind}.{layer}" for kind in ("hidden", "query", "key", "value") for layer in range(4))]
    with recording(bert, names) as expected, recording(model, names) as found:
        wanted = torch_logits(bert, feeds)
        logits = torch_logits(model, {each: feeds[each] for each in family.inputs})
    for state in names:
        assert (found[state][kept] - expected[state][kept]).abs().max() < 1e-5, state
    assert EncoderView(model).longest == EncoderView(bert).longest
    if family.head[0].activation == "tanh":
        assert abs(logits - wanted).max() < 1e-5
