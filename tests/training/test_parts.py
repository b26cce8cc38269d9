"""A batch that is computed in parts, so that it takes less memory, teaches what it teaches whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from compress.config import DistillConfig
from compress.distillation.objective import Distillation
from compress.modeling.states import Batch, States, recording
from compress.runtime.encoding import Encoding
from compress.training import loop
from compress.training.batches import Encodings, Examples
from compress.training.finetune import HardLabels
from compress.training.optimization import Objective
from compress.training.run_files import RunFiles
from tests.tiny import VOCABULARY, make_bert, make_checkpoint

TERMS: dict[str, Any] = {
    f"{name}_weight": 1.0 for name in ("soft", "hard", "embedding", "hidden", "attention", "relation")
}
TEXTS, LABELLED = 23, 17  # the texts after the labelled ones have no label


class FirstStep(torch.optim.AdamW):
    """AdamW that keeps the gradients of its first step."""

    gradients: list[torch.Tensor]

    def step(self, closure: Any = None) -> Any:
        if not FirstStep.gradients:
            given = [weight.grad for group in self.param_groups for weight in group["params"]]
            FirstStep.gradients = [gradient.clone() for gradient in given if gradient is not None]
        return super().step(closure)


def spread(student: States, _teacher: States, _batch: Batch) -> torch.Tensor:
    """A loss of a user's own that compares the texts of a batch with each other."""
    return student["logits"].std()


def two_layers(seed: int = 0) -> PreTrainedModel:
    return make_bert((4, 4), (128, 128), seed=seed)


def objective_of(kind: str) -> Objective:
    if kind == "labels":
        return HardLabels()
    if kind == "multi-label, weighted and focal":
        return HardLabels(torch.tensor([1.0, 3.0]), gamma=2.0)
    own = {"loss": spread} if kind == "own loss" else {}
    return Distillation(two_layers(), two_layers(seed=1), DistillConfig.parse(TERMS | own), multi_label=False)


def examples_of(kind: str) -> Examples:
    rng = np.random.default_rng(0)
    texts = [Encoding(rng.integers(5, VOCABULARY, n).tolist(), [0] * n) for n in rng.integers(2, 60, TEXTS).tolist()]
    if kind.startswith("multi-label"):
        return Examples(Encodings.pack(texts), rng.integers(0, 2, (TEXTS, 2)).astype(np.float32))
    if kind == "labels":
        return Examples(Encodings.pack(texts), rng.integers(0, 2, TEXTS))
    objective, teacher = objective_of(kind), two_layers(seed=1)
    wanted = objective.teacher_wanted if isinstance(objective, Distillation) else frozenset()

    def answers(rows: Sequence[int], batch: Batch) -> States:
        assert len(rows) == len(batch["input_ids"])
        with torch.no_grad(), recording(teacher, wanted) as states:
            teacher(**{name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
        return dict(states)

    return Examples(Encodings.pack(texts), rng.integers(0, 2, LABELLED), answers)


@pytest.mark.parametrize("kind", ["labels", "multi-label, weighted and focal", "teacher", "own loss"])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(
    kind: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = "multi_label" if kind.startswith("multi") else "single_label"
    examples = examples_of(kind)
    settings = {"epochs": 1, "batch_size": 8, "gradient_accumulation": 9, "max_grad_norm": 1e9, "precision": "fp32"}
    monkeypatch.setattr(torch.optim, "AdamW", FirstStep)
    found, forwards, losses = [], [], []
    for tokens in (10**6, 100, 1):  # whole, in some parts, each text alone
        monkeypatch.setitem(loop.PART_TOKENS, "cpu", tokens)
        model = two_layers()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # its random numbers differ
        forwards.append(0)
        model.register_forward_hook(lambda *_: forwards.append(forwards.pop() + 1))
        FirstStep.gradients = []
        checkpoint = make_checkpoint(tiny_encoder, model, ("bad", "good"), task)
        validation = examples.sample(np.arange(5))
        config = DistillConfig.parse(settings | {"device": "cpu"})
        run_files = RunFiles(tmp_path, tmp_path / "none")
        result = loop.train(checkpoint, examples, validation, objective_of(kind), config, run_files)
        losses.append(result.curve[0]["loss"])
        found.append(FirstStep.gradients)
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
    for whole, some, alone in zip(*found, strict=True):
        scale = float(whole.abs().max())
        assert float((some - whole).abs().max()) <= 1e-6 + 1e-5 * scale
        assert float((alone - whole).abs().max()) <= 1e-6 + 1e-5 * scale
    assert (forwards[0] < forwards[1] < forwards[2]) == (kind != "own loss")  # which sees its batches whole
