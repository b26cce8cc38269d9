"""What ranks units is the user's to choose: the baselines mean what they say, a function of one's own is checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.config import PruneConfig
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.pruning.importance import Importance
from compress.pruning.ranking import magnitude_importance, rank
from compress.pruning.surgeon import surgeon_importance
from compress.training.batches import Examples
from tests.pruning.conftest import HEADS, NEURONS
from tests.tiny import HEAD_SIZE, make_feeds, parts, same_weights, torch_logits, weights_of


def first_heads_matter(checkpoint: Checkpoint, examples: Examples) -> Importance:
    """Head 0 of every layer matters most, neurons not at all."""
    assert len(examples.targets) == len(examples) > 0
    layers = parts(checkpoint.model).bert.encoder.layer
    heads = [layer.attention.output.dense.in_features // HEAD_SIZE for layer in layers]
    return Importance(
        [-torch.arange(count).float() for count in heads],
        [torch.zeros(layer.output.dense.in_features) for layer in layers],
    )


@pytest.mark.parametrize("importance", ["surgeon", "fisher", "magnitude", "random"])
def test_every_importance_has_a_score_for_each_unit_and_nothing_stays_in_the_model(
    uneven: Checkpoint, sample: Examples, importance: Any
) -> None:
    before, feeds = weights_of(uneven.model), make_feeds(3, 9)
    logits = torch_logits(uneven.model, feeds)
    found = rank(uneven, sample, PruneConfig(heads=0.5, importance=importance))
    assert tuple(map(len, found.heads)) == HEADS
    assert tuple(map(len, found.neurons)) == NEURONS
    assert all((scores >= 0).all() and torch.isfinite(scores).all() for scores in found.heads + found.neurons)
    assert same_weights(weights_of(uneven.model), before)
    assert np.array_equal(torch_logits(uneven.model, feeds), logits)
    assert all(weight.grad is None and weight.requires_grad for weight in uneven.model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in uneven.model.modules())


def test_the_surgeon_is_the_default(uneven: Checkpoint, sample: Examples) -> None:
    config = PruneConfig(heads=0.5)
    expected = surgeon_importance(uneven, sample, config.batch_size, config.seed)
    assert all(map(torch.equal, rank(uneven, sample, config).heads, expected.heads))


def test_a_unit_whose_weights_are_all_0_has_no_magnitude(uneven: Checkpoint) -> None:
    layer = parts(uneven.model).bert.encoder.layer[0]
    with torch.no_grad():
        for part in (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value):
            part.weight[HEAD_SIZE : 2 * HEAD_SIZE] = 0
        layer.attention.output.dense.weight[:, HEAD_SIZE : 2 * HEAD_SIZE] = 0
        layer.intermediate.dense.weight[5] = layer.output.dense.weight[:, 5] = 0
    found = magnitude_importance(uneven)
    assert [at for at, score in enumerate(found.heads[0]) if score == 0] == [1]
    assert [at for at, score in enumerate(found.neurons[0]) if score == 0] == [5]


def test_random_follows_the_seed(uneven: Checkpoint, sample: Examples) -> None:
    one, same, other = (
        rank(uneven, sample, PruneConfig(heads=0.5, importance="random", seed=seed)).neurons[0] for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda _: "much", ("Importance", "got str")),
        (lambda found: Importance(found.heads[:-1], found.neurons), ("heads", "[[4], [0], [2], [3]]")),
        (lambda found: Importance(found.heads, [scores[1:] for scores in found.neurons]), ("neurons", "[127]")),
        (lambda found: Importance([0.5] * 4, found.neurons), ("heads", "float")),  # type: ignore[list-item]
        (lambda found: Importance(found.heads, [scores / 0 for scores in found.neurons]), ("finite", "neurons")),
    ],
    ids=["no importance", "a layer missing", "a neuron missing", "no tensor", "not finite"],
)
def test_an_importance_that_does_not_fit_the_model_is_refused(
    uneven: Checkpoint, sample: Examples, made: Any, words: tuple[str, ...]
) -> None:
    config = PruneConfig(heads=0.5, importance=lambda *given: made(first_heads_matter(*given)))
    with pytest.raises(CompressError, match=r"^prune\.importance must give") as error:
        rank(uneven, sample, config)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("fishy", ("prune.importance", "surgeon", "fisher", "magnitude", "random", "module.function", "got fishy")),
        ("no.such_function", ("prune.importance", "no.such_function")),
    ],
)
def test_an_unknown_importance_is_refused(given: str, words: tuple[str, ...]) -> None:
    with pytest.raises(CompressError) as error:
        PruneConfig.parse({"heads": 0.5, "importance": given})
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_the_prune_step_keeps_what_a_function_of_ones_own_ranks_first(
    tiny_torch: Path, tiny_data: Path, tmp_path: Path
) -> None:
    result = compress.prune(
        tiny_torch,
        tiny_data,
        tmp_path / "pruned",
        heads=0.5,
        importance=f"{__name__}.first_heads_matter",
        samples=16,
        epochs=1,
        learning_rate=1e-9,
        precision="fp32",
        threads=1,
    )
    whole, pruned = (load_classifier(str(folder)).model for folder in (tiny_torch, result.folder))
    for layer, other in zip(parts(whole).bert.encoder.layer, parts(pruned).bert.encoder.layer, strict=True):
        kept = layer.attention.self.query.weight[: 2 * HEAD_SIZE]
        torch.testing.assert_close(other.attention.self.query.weight, kept, atol=1e-6, rtol=0)
    told = read_manifest(result.folder).history[-1]["config"]["importance"]
    assert told.startswith(f"{__name__}.first_heads_matter (")
