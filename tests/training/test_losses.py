"""The losses against their definitions."""

import math

import pytest
import torch
from torch.nn import functional

from compress.training.losses import distillation_loss, hard_labels, hard_loss, soft_labels


def logits(*shape: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(loss: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, student)
    return found


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])  # from nearly uniform to nearly one-hot
def test_soft_labels_at_temperature_1_are_cross_entropy_up_to_the_teachers_entropy(sharpness: float) -> None:
    student, teacher = logits(6, 5, seed=0).requires_grad_(), sharpness * logits(6, 5, seed=1)
    target = teacher.softmax(dim=-1)
    cross_entropy = functional.cross_entropy(student, target)
    entropy = torch.special.entr(target).sum(dim=-1).mean()
    loss = soft_labels(student, teacher, 1.0, multi_label=False)
    assert loss.item() == pytest.approx((cross_entropy - entropy).item(), abs=1e-9)
    torch.testing.assert_close(gradient(loss, student), gradient(cross_entropy, student))


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_gradients_size_hardly_depends_on_the_temperature(multi_label: bool) -> None:
    student, teacher = logits(8, 4, seed=2, scale=0.5).requires_grad_(), logits(8, 4, seed=3, scale=0.5)
    norms = [
        gradient(soft_labels(student, teacher, temperature, multi_label=multi_label), student).norm().item()
        for temperature in (1.0, 2.0, 8.0, 50.0)
    ]
    assert max(norms) / min(norms) < 1.3


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_labels_are_zero_for_equal_logits_and_positive_for_others(multi_label: bool, temperature: float) -> None:
    teacher, other = logits(5, 3, seed=4), logits(5, 3, seed=5)
    same = teacher.clone().requires_grad_()
    loss = soft_labels(same, teacher, temperature, multi_label=multi_label)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient(loss, same).abs().max() < 1e-12
    assert soft_labels(other, teacher, temperature, multi_label=multi_label) > 0.01


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_multi_label_is_the_mean_over_labels_of_two_class_divergences(temperature: float) -> None:
    student, teacher = logits(7, 4, seed=6), logits(7, 4, seed=7)

    def two_classes(label: int) -> torch.Tensor:
        no = torch.zeros(7, dtype=torch.float64)
        ours, theirs = (torch.stack([no, values[:, label]], dim=-1) for values in (student, teacher))
        return soft_labels(ours, theirs, temperature, multi_label=False)

    expected = torch.stack([two_classes(label) for label in range(4)]).mean()
    torch.testing.assert_close(soft_labels(student, teacher, temperature, multi_label=True), expected)


@pytest.mark.parametrize("multi_label", [False, True])
def test_extreme_logits_stay_finite(multi_label: bool) -> None:
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 1e4]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4], [-1e4, 1e4], [1e4, 0.0]])
    loss = soft_labels(student, teacher, 1.0, multi_label=multi_label)
    assert math.isfinite(loss.item())
    assert gradient(loss, student).isfinite().all()
    targets = torch.tensor([[1.0, 0.0]] * 3) if multi_label else torch.tensor([1, 0, 0])
    assert math.isfinite(hard_labels(student, targets).item())


def test_hard_labels_are_the_mean_negative_log_likelihood() -> None:
    found, classes = logits(6, 3, seed=8), torch.tensor([0, 2, 1, 1, 0, 2])
    expected = -found.log_softmax(dim=-1)[torch.arange(6), classes].mean()
    torch.testing.assert_close(hard_labels(found, classes), expected)
    several = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]] * 3, dtype=torch.float64)
    likelihood = torch.where(several == 1, found.sigmoid(), 1 - found.sigmoid())
    torch.testing.assert_close(hard_labels(found, several), -likelihood.log().mean())


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("multi_label", [False, True])
def test_distillation_mixes_by_weight(weight: float, multi_label: bool) -> None:
    student, teacher = logits(4, 3, seed=9), logits(4, 3, seed=10)
    targets = torch.eye(4, 3, dtype=torch.float64) if multi_label else torch.tensor([0, 1, 2, 0])
    batch = {"targets": targets, "teacher_logits": teacher}
    soft = soft_labels(student, teacher, 2.0, multi_label=multi_label)
    expected = weight * hard_loss(student, batch) + (1 - weight) * soft
    torch.testing.assert_close(distillation_loss(2.0, weight, multi_label=multi_label)(student, batch), expected)
