"""The pieces of the comparison of finetune's choices that a mistake would hide in."""

import numpy as np
import pytest
import torch

from benchmarks.training_choices import CHANGES, RECIPES, Average, divergence, groups_of, main, smoothed
from compress.families.view import EncoderView
from tests.tiny import make_bert

RECIPE = RECIPES[0]


def test_every_weight_is_trained_once_and_lower_layers_more_slowly() -> None:
    model = make_bert()
    decayed = CHANGES["layer decay 0.85"](RECIPE)
    groups = list(groups_of(model, decayed))
    weights = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(weights) == sorted(map(id, model.parameters()))
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    view = EncoderView(model)
    steps = [rates[id(view.words.weight)], *(rates[id(layer.query.weight)] for layer in view.layers)]
    steps.append(rates[id(view.head[-1].weight)])
    assert steps[-1] == RECIPE.learning_rate
    assert np.allclose(np.divide(steps[:-1], steps[1:]), 0.85)
    assert {group["lr"] for group in groups_of(model, RECIPE)} == {RECIPE.learning_rate}


def test_averages_are_those_of_the_weights_that_were_added() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    plain, moving = Average(model, None), Average(model, 0.5)
    for value in (1.0, 2.0, 6.0):
        torch.nn.init.constant_(model.weight, value)
        plain.add(model)
        moving.add(model)
    plain.give(model)
    assert model.weight.item() == pytest.approx(3.0)
    moving.give(model)
    assert model.weight.item() == pytest.approx((1.5 + 6.0) / 2)


@pytest.mark.parametrize("several", [False, True])
def test_two_passes_that_agree_diverge_by_nothing(several: bool) -> None:
    one, other = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    assert divergence(one, one, several=several).item() == 0
    assert divergence(one, other, several=several).item() > 0
    assert torch.equal(divergence(one, other, several=several), divergence(other, one, several=several))


@pytest.mark.parametrize("targets", [torch.tensor([1]), torch.tensor([[0.0, 1.0]])], ids=["single", "multi"])
def test_smoothed_labels_punish_certainty(targets: torch.Tensor) -> None:
    sure, certain = torch.tensor([[-3.0, 3.0]]), torch.tensor([[-30.0, 30.0]])
    assert smoothed(certain, targets, 0.0) < smoothed(sure, targets, 0.0)
    assert smoothed(certain, targets, 0.1) > smoothed(sure, targets, 0.1)


@pytest.mark.parametrize(("flag", "known"), [("--sets", "sst2"), ("--changes", "R-Drop 1")])
def test_what_is_not_known_is_refused(
    flag: str, known: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["training_choices", "out.jsonl", "--data", "data", flag, "other"])
    with pytest.raises(SystemExit):
        main()
    assert known in capsys.readouterr().err
