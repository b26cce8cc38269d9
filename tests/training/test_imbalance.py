"""Rare labels: what they weigh, the focal loss, and files of weights that cannot be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import compress
from compress.config import FinetuneConfig
from compress.errors import CompressError
from compress.evaluation.metrics import training_metric
from compress.modeling.checkpoint import load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.recipes.recipe import Recipe
from compress.runtime.predictor import predict_logits
from compress.training.imbalance import class_weights
from compress.training.optimization import hard_labels

LABELS = ("billing", "other", "spam")
ONE_EACH = torch.tensor([0, 2, 1, 1])
SEVERAL = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]])


def test_balanced_labels_count_alike_and_the_mean_weight_is_one() -> None:
    targets = np.array([0] * 90 + [1] * 9 + [2])
    weights = class_weights("balanced", targets, LABELS)
    totals = [weights[targets][targets == label].sum() for label in range(3)]
    assert totals == pytest.approx([100 / 3] * 3)


def test_in_multi_label_tasks_the_texts_with_a_label_weigh_as_much_as_those_without() -> None:
    targets = np.zeros((100, 3), np.float32)
    targets[:10, 0], targets[:75, 1] = 1, 1  # no text has the third
    weights = class_weights("balanced", targets, LABELS)
    assert weights == pytest.approx([9, 1 / 3, 1])


@pytest.mark.parametrize("targets", [np.array([0] * 90 + [1] * 9), np.eye(3, dtype=np.float32)[[0, 1, 1, 1]]])
def test_sqrt_takes_the_square_root_of_the_balanced_weights(targets: np.ndarray) -> None:
    balanced, root = (class_weights(choice, targets, LABELS) for choice in ("balanced", "sqrt"))
    assert root**2 == pytest.approx(balanced)
    assert len(set(map(float, root))) > 1


@pytest.mark.parametrize("targets", [ONE_EACH, SEVERAL], ids=["single", "multi"])
def test_weights_of_one_change_nothing(targets: torch.Tensor) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert hard_labels(logits, targets, torch.ones(3)) == pytest.approx(float(hard_labels(logits, targets)))


@pytest.mark.parametrize("targets", [ONE_EACH, SEVERAL], ids=["single", "multi"])
def test_a_labels_weight_scales_the_gradient_of_its_texts_alone(targets: torch.Tensor) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    plain, weighted = (
        torch.autograd.grad(hard_labels(logits, targets, weights), logits)[0]
        for weights in (torch.ones(3), torch.tensor([1.0, 5.0, 1.0]))
    )
    if targets.ndim == 1:
        changed = (targets == 1)[:, None].expand(4, 3)
    else:
        changed = (targets == 1) & torch.tensor([False, True, False])
    assert torch.allclose(weighted, torch.where(changed, 5 * plain, plain))


@pytest.mark.parametrize("targets", [ONE_EACH, SEVERAL], ids=["single", "multi"])
def test_the_focal_loss_takes_from_sure_answers_most(targets: torch.Tensor) -> None:
    right = torch.nn.functional.one_hot(targets, 3).float() if targets.ndim == 1 else targets
    sure = (8 * (2 * right - 1)).requires_grad_()
    shares = [float(hard_labels(scale * sure, targets, None, 2.0) / hard_labels(scale * sure, targets))
              for scale in (0.1, 1.0)]  # fmt: skip
    assert shares[1] < 1e-4 < shares[0] < 1
    gradient = torch.autograd.grad(hard_labels(20 * sure, targets, None, 0.5), sure)[0]
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"biling": 2}, 'has the label "biling", which the data does not have; .* billing, other, spam'),
        ({"spam": 0}, 'weight of "spam" must be a number from 1e-6 to 1e6, got 0'),
        ({"spam": True}, "to 1e6, got true"),
        ({"spam": float("nan")}, "to 1e6, got NaN"),
        ({"spam": 1e300}, r"to 1e6, got 1e\+300"),  # infinity in float32
        ({"spam": 1e-300}, "to 1e6, got 1e-300"),  # and 0
        ({"spam": 10**400}, "to 1e6, got 1000"),
        ([1, 2, 3], r'must be an object of weights by label, such as \{"billing": 2.0\}'),
        (None, "must be balanced, sqrt or a file; .*: No such file"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "weights.json"
    if content is not None:
        file.write_text(json.dumps(content))
    with pytest.raises(CompressError, match=message):
        class_weights(str(file), np.array([0, 1]), LABELS)


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        (("false", "true"), {"True": 2.0}),
        (("0", "1"), {"1.0": 2.0}),
        (("b", "café au lait"), {" cafe\u0301\nau lait": 2}),
    ],
)
def test_weights_are_found_by_labels_as_data_spell_them(
    tmp_path: Path, labels: tuple[str, ...], given: dict[str, float]
) -> None:
    file = tmp_path / "weights.json"
    file.write_text(json.dumps(given), encoding="utf-8-sig")  # as Windows' editors save it
    assert class_weights(str(file), np.array([0, 1]), labels).tolist() == [1, 2]


def test_finetune_takes_them_and_a_rare_label_is_answered_more_often(
    shallow_encoder: Path, few_data: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-4, "precision": "fp32", "threads": 1, "batch_size": 8}
    compress.finetune(shallow_encoder, few_data, tmp_path / "plain", **settings)
    first = load_classifier(str(tmp_path / "plain")).labels[0]
    (tmp_path / "weights.json").write_text(json.dumps({first: 1000.0}))
    weights = str(tmp_path / "weights.json")
    compress.finetune(shallow_encoder, few_data, tmp_path / "weighted", class_weights=weights, focal=1.0, **settings)
    logits = [
        predict_logits(TorchPredictor(load_classifier(str(tmp_path / name))), ["a text", "good film", "bad and boring"])
        for name in ("plain", "weighted")
    ]
    assert softmax(logits[1], axis=1)[:, 0].mean() > softmax(logits[0], axis=1)[:, 0].mean()


@pytest.mark.parametrize("word", ["balanced", "sqrt"])
def test_weights_by_the_number_of_texts_are_no_file(word: str) -> None:
    given = {"class_weights": word}
    assert FinetuneConfig.parse(given).sources() == {}
    assert FinetuneConfig.parse({"class_weights": "rare.json"}).sources() == {"class_weights": ["rare.json"]}
    step = {"step": "finetune", "model": "balanced", **given}
    recipe = Recipe.parse({"data": "d.csv", "steps": {"model": step}})
    assert recipe.steps["model"].sources() == {"model": ["balanced"]}


def test_what_is_made_of_a_model_reports_the_metric_that_it_was_trained_by(
    tiny_torch: Path, few_data: Path, tmp_path: Path
) -> None:
    """So later steps judge by it too; it chooses no checkpoint."""
    short: dict[str, Any] = {"epochs": 1, "batch_size": 32, "precision": "fp32"}
    teacher = compress.finetune(tiny_torch, few_data, tmp_path / "teacher", metric="macro_f1", **short).folder
    student = compress.distill(teacher, few_data, tmp_path / "student", layers=2, **short)
    pruned = compress.prune(student.folder, few_data, tmp_path / "pruned", layers=1, **short)
    cut = compress.prune(pruned.folder, few_data, tmp_path / "cut", vocabulary=True)
    for found in (student, pruned, cut):
        assert "validation_macro_f1" in found.metrics
        assert training_metric(load_classifier(str(found.folder)).history) == "macro_f1"
    assert student.metrics["judged_by"] == pruned.metrics["judged_by"] == "divergence"
    int8 = compress.quantize(cut.folder, few_data, tmp_path / "int8", max_drop=100, threads=1)
    assert int8.metrics["metric"] == "macro_f1"
