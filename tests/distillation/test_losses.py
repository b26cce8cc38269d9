"""The losses against their definitions, and what must not change them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.nn import functional

from compress.distillation.losses import (
    attention,
    dot_products,
    relation,
    relation_heads,
    soft_labels,
    token_mse,
)

TokenLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
LENGTHS = (7, 1, 4, 5)
MASK = torch.arange(7) < torch.tensor(LENGTHS)[:, None]


def scores(states: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention scores from ``[batch, length, 2 * width]``: queries, then keys."""
    query, key = states.chunk(2, dim=-1)
    return dot_products(query, key, heads)


def attention_of(heads: int, teacher_heads: int) -> TokenLoss:
    return lambda student, teacher, mask: attention(scores(student, heads), scores(teacher, teacher_heads), mask)


SAME_HEADS: list[Any] = [token_mse, relation, pytest.param(attention_of(4, 4), id="attention")]
ALL: list[Any] = [*SAME_HEADS, pytest.param(attention_of(2, 4), id="attention of other heads")]


def random(*shape: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(loss: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, student)
    return found


def one_texts_scores(states: torch.Tensor, heads: int) -> torch.Tensor:
    """The scores of one text by their definition: ``[heads, length, length]`` from ``[length, 2 * width]``."""
    query, key = (half.unflatten(-1, (heads, -1)) for half in states.chunk(2, dim=-1))
    return torch.einsum("ihd,jhd->hij", query, key) / math.sqrt(query.shape[-1])


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])  # from nearly uniform to nearly one-hot
def test_soft_labels_at_temperature_1_are_cross_entropy_up_to_the_teachers_entropy(sharpness: float) -> None:
    student, teacher = random(6, 5, seed=0).requires_grad_(), sharpness * random(6, 5, seed=1)
    target = teacher.softmax(dim=-1)
    cross_entropy = functional.cross_entropy(student, target)
    entropy = torch.special.entr(target).sum(dim=-1).mean()
    loss = soft_labels(student, teacher, 1.0, multi_label=False)
    assert loss.item() == pytest.approx((cross_entropy - entropy).item(), abs=1e-9)
    torch.testing.assert_close(gradient(loss, student), gradient(cross_entropy, student))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_multi_label_is_the_mean_over_labels_of_bernoulli_divergences(temperature: float) -> None:
    student, teacher = random(7, 4, seed=6), random(7, 4, seed=7)
    divergences = kl_divergence(Bernoulli(logits=teacher / temperature), Bernoulli(logits=student / temperature))
    expected = divergences.sum() / (7 * 4) * temperature**2
    torch.testing.assert_close(soft_labels(student, teacher, temperature, multi_label=True), expected)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_gradients_size_hardly_depends_on_the_temperature(multi_label: bool) -> None:
    student, teacher = random(8, 4, seed=2, scale=0.5).requires_grad_(), random(8, 4, seed=3, scale=0.5)
    norms = [
        gradient(soft_labels(student, teacher, temperature, multi_label=multi_label), student).norm().item()
        for temperature in (1.0, 2.0, 8.0, 50.0)
    ]
    assert max(norms) / min(norms) < 1.3


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_labels_are_zero_for_equal_logits_and_positive_for_others(multi_label: bool, temperature: float) -> None:
    teacher, other = random(5, 3, seed=4), random(5, 3, seed=5)
    same = teacher.clone().requires_grad_()
    loss = soft_labels(same, teacher, temperature, multi_label=multi_label)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient(loss, same).abs().max() < 1e-12
    assert soft_labels(other, teacher, temperature, multi_label=multi_label) > 0.01


@pytest.mark.parametrize("multi_label", [False, True])
def test_extreme_logits_stay_finite(multi_label: bool) -> None:
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 1e4]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4], [-1e4, 1e4], [1e4, 0.0]])
    loss = soft_labels(student, teacher, 1.0, multi_label=multi_label)
    assert math.isfinite(loss.item())
    assert gradient(loss, student).isfinite().all()


@pytest.mark.parametrize("loss", SAME_HEADS)
def test_equal_states_have_no_loss_and_others_have_one(loss: TokenLoss) -> None:
    teacher, other = random(4, 7, 64, seed=10, scale=0.7), random(4, 7, 64, seed=11, scale=0.7).requires_grad_()
    same = teacher.clone().requires_grad_()
    assert loss(same, teacher, MASK).item() == pytest.approx(0, abs=1e-12)
    assert gradient(loss(same, teacher, MASK), same).abs().max() < 1e-9
    assert loss(other, teacher, MASK) > 0.01
    assert gradient(loss(other, teacher, MASK), other)[MASK].abs().max() > 1e-4


@pytest.mark.parametrize("loss", ALL)
def test_padding_changes_neither_loss_nor_gradient(loss: TokenLoss) -> None:
    student, teacher = random(4, 7, 64, seed=12), random(4, 7, 64, seed=13)
    padding = (~MASK)[:, :, None]
    junk = [
        states.where(~padding, random(4, 7, 64, seed=seed, scale=50.0))
        for seed, states in ((14, student), (15, teacher))
    ]
    wider = [functional.pad(states, (0, 0, 0, 3), value=9.0) for states in junk]
    found = []
    for ours, theirs, mask in (
        (student, teacher, MASK),
        (*junk, MASK),
        (*wider, functional.pad(MASK, (0, 3), value=False)),
    ):
        learning = ours.clone().requires_grad_()
        value = loss(learning, theirs, mask)
        slope = gradient(value, learning)
        assert not slope[~mask].any()
        found.append((value, slope[mask]))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


@pytest.mark.parametrize("loss", ALL)
def test_a_text_weighs_the_same_whatever_it_is_batched_with(loss: TokenLoss) -> None:
    student, teacher = random(4, 7, 64, seed=16), random(4, 7, 64, seed=17)
    whole = loss(student, teacher, MASK)
    alone = [
        loss(student[[row], :length], teacher[[row], :length], MASK[[row], :length])
        for row, length in enumerate(LENGTHS)
    ]
    torch.testing.assert_close(whole, torch.stack(alone).mean())
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(student[order], teacher[order], MASK[order]), whole)


@pytest.mark.parametrize("multi_label", [False, True])
def test_soft_labels_are_a_mean_over_texts(multi_label: bool) -> None:
    student, teacher = random(6, 5, seed=18), random(6, 5, seed=19)
    alone = [soft_labels(student[[row]], teacher[[row]], 2.0, multi_label=multi_label) for row in range(6)]
    torch.testing.assert_close(soft_labels(student, teacher, 2.0, multi_label=multi_label), torch.stack(alone).mean())


def test_states_of_one_text_are_compared_by_mean_squared_error() -> None:
    student, teacher = random(1, 5, 8, seed=20), random(1, 5, 8, seed=21)
    found = token_mse(student, teacher, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(found, functional.mse_loss(student, teacher))


def test_attention_of_one_text_is_compared_by_its_scores_before_the_softmax() -> None:
    student, teacher = random(1, 5, 32, seed=22), random(1, 5, 64, seed=23)  # narrower heads, as many
    found = attention_of(4, 4)(student, teacher, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(
        found, functional.mse_loss(one_texts_scores(student[0], 4), one_texts_scores(teacher[0], 4))
    )


def test_attention_of_other_heads_is_compared_by_its_mean_over_heads() -> None:
    student, teacher = random(1, 5, 48, seed=24), random(1, 5, 64, seed=25)
    found = attention_of(3, 4)(student, teacher, torch.ones(1, 5, dtype=torch.bool))
    ours, theirs = (
        one_texts_scores(student[0], 3).softmax(-1).mean(0),
        one_texts_scores(teacher[0], 4).softmax(-1).mean(0),
    )
    torch.testing.assert_close(found, kl_divergence(Categorical(theirs), Categorical(ours)).mean())


def test_twice_the_same_heads_look_where_they_look() -> None:
    student = random(4, 7, 32, seed=26)
    twice = torch.cat([student[..., :16]] * 2 + [student[..., 16:]] * 2, dim=-1)
    assert attention_of(2, 4)(student, twice, MASK).item() == pytest.approx(0, abs=1e-12)


def test_a_relation_of_one_text_is_compared_by_its_divergence() -> None:
    student, teacher = random(1, 5, 24, seed=27, scale=0.7), random(1, 5, 64, seed=28, scale=0.7)
    found = relation(student, teacher, torch.ones(1, 5, dtype=torch.bool))
    heads = relation_heads(24, 64)
    ours, theirs = (one_texts_scores(torch.cat([own, own], dim=-1)[0], heads).softmax(-1) for own in (student, teacher))
    torch.testing.assert_close(found, kl_divergence(Categorical(theirs), Categorical(ours)).mean())


def test_a_relation_is_the_same_in_rotated_and_in_wider_heads() -> None:
    teacher = random(4, 7, 64, seed=29)
    rotation, _ = torch.linalg.qr(random(16, 16, seed=30))
    turned = (teacher.unflatten(-1, (4, 16)) @ rotation).flatten(-2)
    assert relation(turned, teacher, MASK).item() == pytest.approx(0, abs=1e-12)
    wider = (
        functional.pad(teacher.unflatten(-1, (4, 16)), (0, 16)).flatten(-2) * 2**0.25
    )  # for the root of the head size
    assert relation(wider, teacher, MASK).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("width", [1, 7, 48, 64, 100, 192])
def test_relations_take_a_student_of_any_width(width: int) -> None:
    student, teacher = random(4, 7, width, seed=31).requires_grad_(), random(4, 7, 64, seed=32)
    loss = relation(student, teacher, MASK)
    assert loss > 0
    assert gradient(loss, student)[MASK].isfinite().all()


@pytest.mark.parametrize(
    ("student", "teacher", "heads"),
    [
        (768, 768, 48),
        (384, 768, 48),
        (1024, 1024, 64),
        (312, 768, 24),
        (704, 768, 32),
        (64, 64, 4),
        (7, 64, 1),
        (8, 8, 1),
    ],
)
def test_relation_heads_divide_both_widths_and_are_not_too_narrow(student: int, teacher: int, heads: int) -> None:
    assert relation_heads(student, teacher) == heads


@pytest.mark.parametrize("loss", [relation, attention_of(2, 4)])
def test_sharp_attention_stays_finite(loss: TokenLoss) -> None:
    student = (1e3 * random(4, 7, 64, seed=33)).float().requires_grad_()
    value = loss(student, (1e3 * random(4, 7, 64, seed=34)).float(), MASK)
    assert math.isfinite(value.item())
    assert gradient(value, student).isfinite().all()
