"""The training loop: AdamW, linear warm-up and decay, clipping, early stopping, the best checkpoint kept."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import nn
from transformers import get_linear_schedule_with_warmup

from compress.config import TrainingConfig
from compress.errors import CompressError
from compress.machine import choose_precision, torch_device
from compress.metrics import default_metric, score
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.progress import progress
from compress.runtime.predictor import encoded_logits
from compress.training.batches import Batch, Examples, LengthBatches, loader
from compress.training.losses import Loss


@dataclass
class Training:
    """How a training went.

    Attributes:
        metric: name of the validation metric that chose the checkpoint.
        best: its value at the checkpoint that was kept.
        best_step: optimiser steps taken by then.
        steps: optimiser steps taken in all.
        curve: one entry a validation: step, mean loss since the last one, metric.
    """

    metric: str
    best: float = -math.inf
    best_step: int = 0
    steps: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)

    def as_metrics(self) -> dict[str, Any]:
        """What the model's history keeps."""
        return {
            f"validation_{self.metric}": self.best,
            "best_step": self.best_step,
            "steps": self.steps,
            "curve": self.curve,
        }


def train(
    checkpoint: Checkpoint, train_set: Examples, validation_set: Examples, loss: Loss, config: TrainingConfig
) -> Training:
    """Train ``checkpoint.model`` in place and leave it with the weights that did best on ``validation_set``."""
    set_seed(config.seed)
    accelerator = _accelerator(config)
    sampler = LengthBatches(train_set, config.batch_size, config.seed)
    total = len(sampler) * config.epochs
    model, optimizer, batches, schedule = _prepare(
        accelerator, checkpoint.model, loader(train_set, sampler), total, config
    )
    judge = _Judge(checkpoint, validation_set, config, str(accelerator.device), accelerator.mixed_precision)

    eval_steps = config.eval_steps or max(1, len(sampler) // 2)
    running: list[torch.Tensor] = []
    with progress("training", total) as advance:
        for step, batch in enumerate(_epochs(sampler, batches, config.epochs), start=1):
            running.append(_step(accelerator, model, optimizer, schedule, loss, batch, config.max_grad_norm))
            advance(1, note=judge.note)
            if step % eval_steps == 0 or step == total:
                mean_loss = _finite(torch.stack(running).mean(), step, schedule.get_last_lr()[0])
                running.clear()
                judge.look(step, mean_loss)
                if judge.out_of_patience:
                    advance(total - step, note=judge.note)
                    break
    judge.restore_best()
    checkpoint.model.eval()
    return judge.training


class _Judge:
    """Validates, remembers the best weights and says when to stop."""

    def __init__(
        self, checkpoint: Checkpoint, validation_set: Examples, config: TrainingConfig, device: str, precision: str
    ) -> None:
        self.training = Training(metric=config.metric or default_metric(checkpoint.task))
        self.note = ""
        self._model = checkpoint.model
        self._examples = validation_set
        self._patience = config.patience
        self._predictor = TorchPredictor(checkpoint, device, "bf16" if precision == "bf16" else "fp32")
        self._best_weights: dict[str, torch.Tensor] = {}
        self._waited = 0

    def look(self, step: int, mean_loss: float) -> None:
        logits = encoded_logits(self._predictor, self._examples.encodings)
        if not np.isfinite(logits).all():  # the last step may have broken what the loss before it could not show
            raise CompressError(
                f"training: the model's answers are not numbers after step {step}; "
                "nothing was written, try a lower --learning-rate or --precision fp32"
            )
        self._model.train()
        value = score(self.training.metric, logits, self._examples.targets)
        self.training.steps = step
        self.training.curve.append({"step": step, "loss": mean_loss, self.training.metric: value})
        self.note = f"loss {mean_loss:.3f}, {self.training.metric} {value:.3f}"
        if value > self.training.best:
            self.training.best, self.training.best_step, self._waited = value, step, 0
            self._best_weights = {name: weight.detach().clone() for name, weight in self._model.state_dict().items()}
        else:
            self._waited += 1

    @property
    def out_of_patience(self) -> bool:
        return self._waited >= self._patience

    def restore_best(self) -> None:
        self._model.load_state_dict(self._best_weights)
        self._model.cpu()


def _accelerator(config: TrainingConfig) -> Accelerator:
    device = torch_device(config.device)
    precision = choose_precision(config.precision, device)
    # accelerate keeps one state for the process; a pipeline may train twice with different settings.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=device == "cpu")


def _prepare(
    accelerator: Accelerator, model: nn.Module, batches: Any, total_steps: int, config: TrainingConfig
) -> tuple[nn.Module, Any, Any, Any]:
    model.train()
    for table in model.get_submodule("bert.embeddings").children():
        if isinstance(table, nn.Embedding):
            table.requires_grad_(not config.freeze_embeddings)
    optimizer = torch.optim.AdamW(_parameter_groups(model, config.weight_decay), lr=config.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, round(config.warmup * total_steps), total_steps)
    return accelerator.prepare(model, optimizer, batches, schedule)  # type: ignore[no-any-return]


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: biases and layer norms are left free, as in BERT (Devlin et al. 2019)."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]


def _epochs(sampler: LengthBatches, batches: Any, epochs: int) -> Iterator[Batch]:
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        yield from batches


def _step(
    accelerator: Accelerator, model: nn.Module, optimizer: Any, schedule: Any, loss: Loss, batch: Batch, max_norm: float
) -> torch.Tensor:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with accelerator.autocast():
        logits = model(**inputs).logits
    value = loss(logits.float(), batch)
    accelerator.backward(value)
    accelerator.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        schedule.step()
    optimizer.zero_grad()
    return value.detach()


def _finite(mean_loss: torch.Tensor, step: int, learning_rate: float) -> float:
    value = float(mean_loss)
    if not math.isfinite(value):
        raise CompressError(
            f"training: the loss is {value} by step {step}, at learning rate {learning_rate:.1e}; "
            "nothing was written, try a lower --learning-rate or --precision fp32"
        )
    return value
