"""Distillation as a whole: what it wants, how it adds up, what each of its parts compares."""

from collections.abc import Set
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification

from compress.config import DistillConfig, PruneConfig
from compress.distillation.losses import attention, dot_products, relation, soft_labels, token_mse
from compress.distillation.objective import Distillation
from compress.errors import CompressError
from compress.modeling.states import Batch, States, recording
from compress.training.optimization import TEACHER_PREFIX, Objective
from tests.tiny import VOCABULARY, make_bert, make_feeds

PARTS = ("soft", "hard", "embedding", "hidden", "attention", "relation")
EVERY: dict[str, Any] = {f"{name}_weight": 0.5 + number for number, name in enumerate(PARTS)}
NOTHING: dict[str, Any] = dict.fromkeys(EVERY, 0)


def weights(**given: Any) -> DistillConfig:
    """Settings with these weights, the others 0."""
    return DistillConfig.parse(NOTHING | given)


def small_bert(hidden: int = 32, layers: int = 2, heads: int = 2, seed: int = 1) -> BertForSequenceClassification:
    """A stock BERT of another width than the tiny teacher's; large weights, so that texts differ."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    model = BertForSequenceClassification(config)
    model.train(mode=False)
    return model


def make_batch(*, seed: int = 0, multi_label: bool = False) -> Batch:
    batch = {name: torch.from_numpy(array) for name, array in make_feeds(6, 12, padded=True, seed=seed).items()}
    batch["targets"] = torch.eye(2)[[0, 1, 1, 0, 0, 1]] if multi_label else torch.tensor([0, 1, 1, 0, 0, 1])
    batch["labelled"] = torch.tensor([True, True, False, True, False, True])
    return batch


def shown(model: BertForSequenceClassification, batch: Batch, wanted: frozenset[str]) -> States:
    with recording(model, wanted) as states:
        model(**{name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
    return states


def answered(teacher: BertForSequenceClassification, batch: Batch, wanted: frozenset[str]) -> Batch:
    """The batch with exactly what is wanted of the teacher."""
    with torch.no_grad():
        states = shown(teacher, batch, wanted)
    return batch | {TEACHER_PREFIX + name: states[name] for name in wanted}


def losses(
    objective: Distillation,
    student: BertForSequenceClassification,
    teacher: BertForSequenceClassification,
    batch: Batch,
) -> dict[str, torch.Tensor]:
    states = shown(student, batch, objective.wanted)
    found: dict[str, torch.Tensor] = objective(states, answered(teacher, batch, objective.teacher_wanted))
    return found


def numbers(found: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: loss.item() for name, loss in found.items()}


def test_it_is_an_objective() -> None:
    objective: Objective = Distillation(make_bert(), make_bert(), weights(soft_weight=1), multi_label=False)
    assert objective.wanted == frozenset()


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    student, teacher = small_bert(), make_bert()
    objective = Distillation(student, teacher, DistillConfig.parse(EVERY), multi_label=False)
    found = losses(objective, student, teacher, make_batch())
    assert list(found) == ["loss", *PARTS]
    assert all(float(found[name]) > 0 for name in PARTS)
    expected = sum(EVERY[f"{name}_weight"] * found[name].item() for name in PARTS)
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert {name for name, loss in found.items() if loss.requires_grad} == {"loss"}


@pytest.mark.parametrize(
    ("part", "wanted", "teacher_wanted"),
    [
        ("soft", set(), {"logits"}),
        ("hard", set(), set()),
        ("embedding", {"embeddings"}, {"embeddings"}),
        ("hidden", {"hidden.0", "hidden.1"}, {"hidden.1", "hidden.3"}),
        ("attention", {"query.0", "key.0", "query.1", "key.1"}, {"query.1", "key.1", "query.3", "key.3"}),
        ("relation", {"query.1", "key.1", "value.1"}, {"query.3", "key.3", "value.3"}),
    ],
)
def test_a_part_wants_its_states_alone_and_counts_what_it_counts_among_others(
    part: str, wanted: Set[str], teacher_wanted: Set[str]
) -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    objective = Distillation(student, teacher, weights(**{f"{part}_weight": 2}), multi_label=False)
    assert objective.wanted == wanted
    assert objective.teacher_wanted == teacher_wanted
    found = losses(objective, student, teacher, batch)
    together = losses(
        Distillation(student, teacher, DistillConfig.parse(EVERY), multi_label=False), student, teacher, batch
    )
    assert numbers(found) == pytest.approx({"loss": 2 * float(together[part]), part: float(together[part])}, rel=1e-5)


@pytest.mark.parametrize("heads", [(4, 4, 4, 4), (4, 1, 3, 2)])
def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(heads: tuple[int, ...]) -> None:
    model = make_bert(heads)
    objective = Distillation(model, model, DistillConfig.parse(EVERY), multi_label=False)
    assert not list(objective.parameters())
    found = numbers(losses(objective, model, model, make_batch()))
    assert {name: found[name] for name in PARTS if name != "hard"} == pytest.approx(
        dict.fromkeys(set(PARTS) - {"hard"}, 0), abs=1e-6
    )
    assert found["loss"] == pytest.approx(EVERY["hard_weight"] * found["hard"], rel=1e-4)


def test_temperature_and_kind_of_labels_reach_the_soft_labels() -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    objective = Distillation(student, teacher, weights(soft_weight=1, temperature=5), multi_label=True)
    ours, theirs = (shown(model, batch, frozenset())["logits"] for model in (student, teacher))
    expected = soft_labels(ours, theirs, 5, multi_label=True)
    torch.testing.assert_close(losses(objective, student, teacher, batch)["soft"], expected.detach())


@pytest.mark.parametrize("multi_label", [False, True])
def test_hard_labels_are_summed_over_labelled_texts_and_divided_by_all(multi_label: bool) -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch(multi_label=multi_label)
    objective = Distillation(student, teacher, weights(hard_weight=1), multi_label=multi_label)
    logits = shown(student, batch, frozenset())["logits"]
    if multi_label:
        by_text = functional.binary_cross_entropy_with_logits(logits, batch["targets"], reduction="none").mean(dim=1)
    else:
        by_text = functional.cross_entropy(logits, batch["targets"], reduction="none")
    expected = (by_text[0] + by_text[1] + by_text[3] + by_text[5]) / 6
    torch.testing.assert_close(losses(objective, student, teacher, batch)["hard"], expected.detach())


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_batch_without_labels_has_no_hard_loss_and_no_gradient_of_one(multi_label: bool) -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch(multi_label=multi_label)
    batch["labelled"] = torch.zeros(6, dtype=torch.bool)
    found = losses(
        Distillation(student, teacher, weights(hard_weight=1), multi_label=multi_label), student, teacher, batch
    )
    assert found["loss"].item() == 0
    found["loss"].backward()
    for weight in student.parameters():
        assert weight.grad is not None
        assert not weight.grad.any()


def test_the_order_of_texts_and_the_padding_change_no_part() -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    objective = Distillation(student, teacher, DistillConfig.parse(EVERY), multi_label=False)
    expected = numbers(losses(objective, student, teacher, batch))
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    shuffled = {name: tensor[order] for name, tensor in batch.items()}
    assert numbers(losses(objective, student, teacher, shuffled)) == pytest.approx(expected, rel=1e-4)
    padded = {
        name: functional.pad(tensor, (0, 4)) if tensor.shape[1:] == (12,) else tensor for name, tensor in batch.items()
    }
    padded["input_ids"] = padded["input_ids"].where(padded["attention_mask"] == 1, 7)
    assert numbers(losses(objective, student, teacher, padded)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_of_less_precision_give_float32_losses_close_to_the_exact_ones(dtype: torch.dtype) -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    objective = Distillation(student, teacher, DistillConfig.parse(EVERY), multi_label=False)
    states = shown(student, batch, objective.wanted)
    full = answered(teacher, batch, objective.teacher_wanted)
    short = {name: tensor.to(dtype) if name.startswith(TEACHER_PREFIX) else tensor for name, tensor in full.items()}
    found = objective({name: state.to(dtype) for name, state in states.items()}, short)
    assert {loss.dtype for loss in found.values()} == {torch.float32}
    assert numbers(found) == pytest.approx(numbers(objective(states, full)), rel=0.05)
    found["loss"].backward()
    assert all(weight.grad.isfinite().all() for weight in student.parameters() if weight.grad is not None)


def test_maps_lead_from_the_students_width_to_the_teachers_and_learn() -> None:
    student, teacher, batch = small_bert(hidden=32), make_bert(), make_batch()
    config = weights(embedding_weight=1, hidden_weight=1)
    before = torch.get_rng_state()
    objective = Distillation(student, teacher, config, multi_label=False)
    assert torch.equal(torch.get_rng_state(), before)
    maps = dict(objective.named_parameters())
    assert {name: tuple(weight.shape) for name, weight in maps.items()} == {
        "maps.embedding.weight": (64, 32),
        "maps.hidden.weight": (64, 32),
    }
    for weight in maps.values():  # lengths and angles of the student's states stay at first
        torch.testing.assert_close(weight.T @ weight, torch.eye(32), atol=1e-5, rtol=0)
    optimizer = torch.optim.Adam([*maps.values(), *student.parameters()], lr=1e-2)
    course = []
    for _ in range(12):
        found = losses(objective, student, teacher, batch)
        optimizer.zero_grad()
        found["loss"].backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in maps.values())
        optimizer.step()
        course.append(found["loss"].item())
    assert course[-1] < 0.8 * course[0]
    assert all(later < earlier for earlier, later in pairwise(course[2:]))


def test_maps_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    def first(seed: int) -> torch.Tensor:
        objective = Distillation(small_bert(), make_bert(), weights(hidden_weight=1, seed=seed), multi_label=False)
        return next(objective.parameters())

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (2, 4, [1, 3]),
        (3, 6, [1, 3, 5]),
        (3, 4, [0, 1, 3]),
        (1, 4, [3]),
        (4, 4, [0, 1, 2, 3]),
        (6, 3, [0, 0, 0, 1, 1, 2]),
    ],
)
def test_layers_are_matched_evenly_and_the_last_with_the_last(student: int, teacher: int, expected: list[int]) -> None:
    small, large = small_bert(layers=student), make_bert((4,) * teacher, (128,) * teacher)
    objective = Distillation(small, large, weights(hidden_weight=1), multi_label=False)
    assert objective.pairs["hidden"] == [(f"hidden.{own}", f"hidden.{its}") for own, its in enumerate(expected)]


@pytest.mark.parametrize("part", ["hidden", "attention"])
def test_each_layer_imitates_the_layer_that_the_map_names(part: str) -> None:
    student, teacher, batch = make_bert((4, 4), (128, 128), seed=5), make_bert(), make_batch()
    config = weights(**{f"{part}_weight": 1, "layer_map": [2, 0]})
    objective = Distillation(student, teacher, config, multi_label=False)
    full = answered(teacher, batch, objective.teacher_wanted)
    copied = {"logits": torch.zeros(6, 2)}
    for own, its in enumerate([2, 0]):
        for kind in ("hidden",) if part == "hidden" else ("query", "key"):
            copied[f"{kind}.{own}"] = full[f"{TEACHER_PREFIX}{kind}.{its}"]
    assert objective(copied, full)["loss"].item() == pytest.approx(0, abs=1e-9)
    swapped = {
        name: copied.get(f"{name[:-1]}{1 - int(name[-1])}", copied[name]) if "." in name else copied[name]
        for name in copied
    }
    assert objective(swapped, full)["loss"].item() > 0.01


def test_parts_are_means_over_layers_and_relations() -> None:
    student, teacher, batch = make_bert((4, 2), (128, 128), seed=5), make_bert(), make_batch()
    config = weights(hidden_weight=1, attention_weight=1, relation_weight=1, layer_map=[0, 2])
    objective = Distillation(student, teacher, config, multi_label=False)
    ours, full = shown(student, batch, objective.wanted), answered(teacher, batch, objective.teacher_wanted)
    theirs = {
        name.removeprefix(TEACHER_PREFIX): state for name, state in full.items() if name.startswith(TEACHER_PREFIX)
    }
    mask = batch["attention_mask"].bool()

    def scores(states: States, layer: int, heads: int) -> torch.Tensor:
        return dot_products(states[f"query.{layer}"], states[f"key.{layer}"], heads)

    hidden = [token_mse(ours[f"hidden.{own}"], theirs[f"hidden.{its}"], mask) for own, its in ((0, 0), (1, 2))]
    looks = [
        attention(scores(ours, own, heads), scores(theirs, its, 4), mask) for own, heads, its in ((0, 4, 0), (1, 2, 2))
    ]
    relations = [relation(ours[f"{kind}.1"], theirs[f"{kind}.3"], mask) for kind in ("query", "key", "value")]
    expected = {"hidden": hidden, "attention": looks, "relation": relations}
    found = numbers(objective(ours, full))
    assert {name: found[name] for name in expected} == pytest.approx(
        {name: sum(loss.item() for loss in each) / len(each) for name, each in expected.items()}, rel=1e-5
    )


def test_the_last_layer_takes_the_relations_of_the_layer_asked_for() -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    objective = Distillation(student, teacher, weights(relation_weight=1, relation_layer=1), multi_label=False)
    assert objective.wanted == {"query.1", "key.1", "value.1"}
    assert objective.teacher_wanted == objective.wanted
    full = answered(teacher, batch, objective.teacher_wanted)
    copied = {name: full[TEACHER_PREFIX + name] for name in objective.teacher_wanted} | {"logits": torch.zeros(6, 2)}
    assert objective(copied, full)["loss"].item() == pytest.approx(0, abs=1e-6)
    found = []
    for kind in ("query", "key", "value"):
        other = copied | {f"{kind}.1": copied[f"{kind}.1"].flip(0)}
        found.append(objective(other, full)["loss"].item())
    assert min(found) > 0.001


@pytest.mark.parametrize("layer_map", [[0], [0, 1, 2], [0, 4]])
def test_a_layer_map_that_does_not_fit_is_refused(layer_map: list[int]) -> None:
    message = (
        r"^distill\.layer_map must name 2 teacher layers, one for each student layer, from 0 to 3, "
        rf"got {','.join(map(str, layer_map))}$"
    )
    with pytest.raises(CompressError, match=message):
        Distillation(small_bert(), make_bert(), weights(hidden_weight=1, layer_map=layer_map), multi_label=False)


def test_a_relation_layer_that_the_teacher_has_not_is_refused() -> None:
    config = PruneConfig.parse({**NOTHING, "heads": 0.5, "relation_weight": 1, "relation_layer": 4})
    with pytest.raises(CompressError, match=r"^prune\.relation_layer must be a teacher layer from 0 to 3, got 4$"):
        Distillation(small_bert(), make_bert(), config, multi_label=False)


def test_nothing_to_learn_from_is_refused_at_once_where_there_is_always_a_training() -> None:
    message = r"has nothing to learn from, its weights are all 0; set .*soft_weight"
    for nothing in ({}, {"loss": gap, "loss_weight": 0}):
        with pytest.raises(CompressError, match=f"^distill {message}"):
            weights(**nothing)
    without_training = PruneConfig.parse({**NOTHING, "heads": 0.5, "epochs": 0})
    with pytest.raises(CompressError, match=f"^prune {message}"):
        Distillation(small_bert(), make_bert(), without_training, multi_label=False)


def test_layers_without_heads_are_refused_before_training_and_only_where_heads_are_compared() -> None:
    headless, whole = make_bert((4, 0, 4, 4)), make_bert()
    with pytest.raises(CompressError, match=r"layer 1 of the student has no attention heads"):
        Distillation(headless, whole, weights(attention_weight=1), multi_label=False)
    with pytest.raises(CompressError, match=r"layer 1 of the teacher has no attention heads"):
        Distillation(whole, headless, weights(relation_weight=1, relation_layer=1), multi_label=False)
    objective = Distillation(headless, whole, weights(hidden_weight=1, relation_weight=1), multi_label=False)
    assert losses(objective, headless, whole, make_batch())["loss"].item() > 0


def gap(student: States, teacher: States, batch: Batch) -> torch.Tensor:
    """A user's loss on logits alone."""
    assert set(student) == set(teacher) == {"logits"}
    return (student["logits"] - teacher["logits"]).abs().mean() + batch["targets"].sum()


class FirstTokens:
    """A user's loss that names states."""

    wanted = ("hidden.1",)
    teacher_wanted = ("hidden.2", "embeddings")

    def __call__(self, student: States, teacher: States, _batch: Batch) -> torch.Tensor:
        assert set(student) == {"logits", "hidden.1"}
        assert set(teacher) == {"logits", "hidden.2", "embeddings"}
        return (student["hidden.1"][:, 0].mean() - teacher["hidden.2"][:, 0].mean()).square()


@pytest.mark.parametrize("loss", [gap, f"{__name__}.gap"])
def test_a_loss_of_ones_own_sees_the_logits(loss: Any) -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    config = weights(soft_weight=1, hidden_weight=1, loss=loss, loss_weight=0.5)
    objective = Distillation(student, teacher, config, multi_label=False)
    found = losses(objective, student, teacher, batch)
    ours, theirs = (shown(model, batch, frozenset())["logits"] for model in (student, teacher))
    assert float(found["custom"]) == pytest.approx((ours - theirs).abs().mean().item() + 3, rel=1e-5)
    assert found["loss"].item() == pytest.approx(
        float(found["soft"]) + float(found["hidden"]) + float(found["custom"]) / 2, rel=1e-5
    )


def test_a_loss_of_ones_own_sees_the_states_that_it_names() -> None:
    student, teacher, batch = small_bert(), make_bert(), make_batch()
    objective = Distillation(student, teacher, weights(attention_weight=1, loss=FirstTokens()), multi_label=False)
    assert objective.wanted >= {"hidden.1"}
    assert objective.teacher_wanted >= {"logits", "hidden.2", "embeddings"}
    found = losses(objective, student, teacher, batch)
    assert float(found["custom"]) > 0
    assert found["loss"].item() == pytest.approx(float(found["attention"]) + float(found["custom"]), rel=1e-5)


def test_a_loss_of_ones_own_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(CompressError, match=r"^hidden\.1: the student has layers 0 to 0, got 1$"):
        Distillation(small_bert(layers=1), make_bert(), weights(loss=FirstTokens()), multi_label=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, r"got float$"),
        (None, r"got NoneType$"),
        (torch.zeros(6), r"got torch.float32 of shape \[6\]; a mean over texts makes one$"),
        (torch.zeros(1), r"got torch.float32 of shape \[1\]; a mean over texts makes one$"),
        (torch.tensor(1), r"got torch.int64 of shape \[\]"),
    ],
)
def test_a_loss_of_ones_own_that_gives_no_scalar_is_refused(value: Any, message: str) -> None:
    student, teacher = small_bert(), make_bert()
    objective = Distillation(student, teacher, weights(loss=lambda *_: value), multi_label=False)
    with pytest.raises(CompressError, match=r"^distill\.loss must give a scalar tensor.*" + message):
        losses(objective, student, teacher, make_batch())
