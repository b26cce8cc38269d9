"""What hooks record, against what transformers itself says."""

from typing import Any

import pytest
import torch

from compress.distillation.losses import dot_products
from compress.errors import CompressError
from compress.modeling.states import recording, state_modules
from tests.tiny import make_bert, make_feeds, parts

EVERY = ["embeddings", *(f"{kind}.{layer}" for kind in ("hidden", "query", "key", "value") for layer in range(4))]
UNEVEN: dict[str, Any] = {"heads": (4, 1, 3, 2), "neurons": (96, 32, 0, 64)}


def inputs(*, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in make_feeds(5, 12, padded=True, seed=seed).items()}


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", [{}, UNEVEN])
def test_hidden_states_are_those_of_transformers(attention: str, shape: dict[str, Any]) -> None:
    model = make_bert(**shape)
    model.set_attn_implementation(attention)
    with torch.no_grad():
        expected = model(**inputs(), output_hidden_states=True)
        with recording(model, EVERY) as states:
            logits = model(**inputs()).logits
    assert torch.equal(logits, expected.logits)
    assert torch.equal(states["logits"], logits)
    assert set(states) == {"logits", *EVERY}
    for name, hidden in zip(["embeddings", *EVERY[1:5]], expected.hidden_states, strict=True):
        assert torch.equal(states[name], hidden)


@pytest.mark.parametrize("shape", [{}, UNEVEN])
def test_queries_keys_and_values_are_those_of_the_layers_attention(shape: dict[str, Any]) -> None:
    model, batch = make_bert(**shape), inputs()
    model.set_attn_implementation("eager")
    with torch.no_grad(), recording(model, EVERY) as states:
        attentions = model(**batch, output_attentions=True).attentions
        for index, layer in enumerate(parts(model).bert.encoder.layer):
            own = layer.attention.self
            scores = dot_products(states[f"query.{index}"], states[f"key.{index}"], own.num_attention_heads)
            found = scores.masked_fill(~batch["attention_mask"].bool()[:, None, None, :], -torch.inf).softmax(-1)
            torch.testing.assert_close(found, attentions[index])
            into = states["embeddings" if index == 0 else f"hidden.{index - 1}"]
            assert torch.equal(states[f"value.{index}"], own.value(into))


def test_only_what_is_wanted_is_recorded_and_the_next_pass_replaces_it() -> None:
    model = make_bert()
    with torch.no_grad(), recording(model, ["hidden.3"]) as states:
        assert states == {}
        model(**inputs(seed=1))
        assert set(states) == {"logits", "hidden.3"}
        first = dict(states)
        model(**inputs(seed=2))
    assert states["hidden.3"] is not first["hidden.3"]
    assert not torch.equal(states["logits"], first["logits"])
    model(**inputs(seed=1))
    assert not torch.equal(states["logits"], first["logits"])  # the block is over


def test_no_hook_stays_not_even_after_an_error() -> None:
    model = make_bert()
    with recording(model, EVERY):
        assert hooks(model) == len(EVERY) + 2  # the logits', and one that forgets the pass before
    assert hooks(model) == 0
    with pytest.raises(IndexError), recording(model, EVERY):
        model(input_ids=torch.tensor([[10**6]]))
    assert hooks(model) == 0
    with pytest.raises(CompressError), recording(model, [*EVERY, "hidden.9"]):
        pass
    assert hooks(model) == 0


def test_gradients_flow_from_a_state_to_what_lies_below_it() -> None:
    model = make_bert()
    with recording(model, ["query.1", "hidden.1"]) as states:
        model(**inputs())
    states["query.1"].sum().backward()
    layers = parts(model).bert.encoder.layer
    assert layers[0].output.dense.weight.grad.abs().max() > 0
    assert layers[1].attention.self.query.weight.grad.abs().max() > 0
    assert layers[1].attention.self.key.weight.grad is None
    assert layers[2].attention.self.query.weight.grad is None


def test_states_keep_the_precision_of_the_pass() -> None:
    model = make_bert()
    with torch.no_grad(), recording(model, ["query.1", "value.3"]) as states:
        model(**inputs())
        exact = dict(states)
        with torch.autocast("cpu", torch.bfloat16):
            model(**inputs())
    assert {states[name].dtype for name in exact} == {torch.bfloat16}
    for name, expected in exact.items():
        error = (states[name].float() - expected).abs().mean() / expected.abs().mean()
        assert error < 0.05


def test_a_layer_without_heads_shows_hidden_states_but_no_queries() -> None:
    model = make_bert(heads=(4, 0, 3, 4))
    with torch.no_grad(), recording(model, ["hidden.1"]) as states:
        expected = model(**inputs(), output_hidden_states=True).hidden_states[2]
    assert torch.equal(states["hidden.1"], expected)
    for kind in ("query", "key", "value"):
        with pytest.raises(CompressError, match=rf"^{kind}\.1: layer 1 of the student has no attention heads"):
            state_modules(model, [f"{kind}.1"], "student")


@pytest.mark.parametrize("name", ["hidden.4", "query.11", "value.4"])
def test_layers_that_the_model_has_not_are_refused(name: str) -> None:
    with pytest.raises(CompressError, match=rf"^{name}: the teacher has layers 0 to 3, got {name.split('.')[1]}$"):
        state_modules(make_bert(), [name], "teacher")


@pytest.mark.parametrize(
    "name", ["", "hidden", "hidden.", "hidden.-1", "hidden.1.2", "pooler", "attention.0", "logits.0"]
)
def test_names_that_mean_nothing_are_refused(name: str) -> None:
    with pytest.raises(CompressError, match=r"is no state of a BERT; there are logits, embeddings, and hidden, query"):
        state_modules(make_bert(), [name], "model")
