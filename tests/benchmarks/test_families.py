"""A BERT's weights in other families' forms are the same function."""

import pytest
import torch

from benchmarks.families import FORMS, carried
from compress.families import FAMILIES
from compress.families.view import EncoderView
from tests.tiny import make_bert, make_feeds, torch_logits


@pytest.mark.parametrize("name", FORMS)
def test_a_berts_weights_in_another_form_are_the_same_function(name: str) -> None:
    """The head too, where it is as BERT's; else its states are compared in the place of logits."""
    bert, family = make_bert(labels=3), FAMILIES[name]
    model = carried(bert, family)
    feeds = make_feeds(5, 20, padded=True)
    feeds["token_type_ids"][:] = 0
    kept = torch.from_numpy(feeds["attention_mask"]).bool()
    assert len(EncoderView(model).layers) == 4
    found: dict[str, torch.Tensor] = {}
    for one in (bert, model):
        view = EncoderView(one)
        handle = view.layers[-1].module.register_forward_hook(lambda *seen: found.update(states=seen[2]))
        logits = torch_logits(one, {each: feeds[each] for each in view.family.inputs})
        handle.remove()
        if one is bert:
            expected, wanted = found["states"][kept], logits
    assert (found["states"][kept] - expected).abs().max() < 1e-5
    assert EncoderView(model).longest == EncoderView(bert).longest
    if family.head[0].activation == "tanh":
        assert abs(logits - wanted).max() < 1e-5
