"""Without what the head does not read, the last layer's logits and gradients are the same."""

import pytest
import torch

from compress.families import FAMILIES
from compress.families.family import Family
from compress.modeling.states import first_token_alone, recording
from compress.modeling.widths import Widths
from tests.families.models import EVEN, make_feeds, make_model

BARE = Widths((4, 2, 3, 0), (128, 64, 32, 0))  # its last layer has neither heads nor neurons


@pytest.mark.parametrize("widths", [EVEN, BARE], ids=["whole", "bare"])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_logits_and_gradients_stay_and_the_other_tokens_are_left_out(family: Family, widths: Widths) -> None:
    model = make_model(family, widths)
    feeds = {name: torch.from_numpy(array) for name, array in make_feeds(family, 3, 9, "right").items()}
    found: list[list[torch.Tensor]] = []
    for wanted, tokens in (({"hidden.3"}, 9), ({"hidden.2"}, 9 if family.parts.norms_first else 1)):
        model.zero_grad()
        with first_token_alone(model, wanted), recording(model, {"hidden.2", "hidden.3"}) as states:
            model(**feeds).logits.square().sum().backward()
        assert [states[name].shape[1] for name in ("hidden.2", "hidden.3")] == [9, tokens]
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        found.append([states["logits"].detach(), *gradients])
        model.zero_grad(set_to_none=True)
    whole, alone = found
    assert len(whole) == len(alone)
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-6 * (1 + float(one.norm())))
    assert not model._forward_pre_hooks and not any(part._forward_pre_hooks for part in model.modules())
