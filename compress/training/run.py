"""One training under way: its steps, what is looked at between them, and its whole state."""

import math
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from compress.config import TrainingConfig
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.machine import choose_precision
from compress.modeling.checkpoint import Checkpoint
from compress.progress import Advance
from compress.training.batches import Examples
from compress.training.checkpointing import Checkpoints, RunFiles, Saved
from compress.training.loss_module import LossModule
from compress.training.metrics_log import MetricsLog
from compress.training.objective import Objective
from compress.training.optimizer import Optimizer
from compress.training.schedule import BatchSchedule, Rows
from compress.training.validator import Validator

# Losses are looked at, shown and written down every so many steps: on a GPU each look waits for it.
_LOOK_STEPS = 10


class Run:
    """All that changes while a model is trained.

    Args:
        checkpoint: its model is trained in place.
        train_set: what it learns from.
        validation_set: what it is judged by.
        objective: what it is trained for.
        config: the training's settings.
        run_files: where the diary goes.
        accelerator: device and processes.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        train_set: Examples,
        validation_set: Examples,
        objective: Objective,
        config: TrainingConfig,
        run_files: RunFiles,
        accelerator: Accelerator,
    ) -> None:
        set_seed(config.seed, device_specific=True)
        _freeze(checkpoint.model, bool(config.freeze_embeddings))
        precision = choose_precision(config.precision, accelerator.device.type)
        self._accelerator = accelerator
        self._train_set = train_set
        self.plan = BatchSchedule(
            train_set.encodings.lengths, config, accelerator.num_processes, accelerator.process_index
        )
        self._loss_module = LossModule(checkpoint.model, objective, precision)
        self._shared: nn.Module = accelerator.prepare(self._loss_module)
        self._optimizer = Optimizer(self._loss_module, config, self.plan.steps)
        self.validator = Validator(checkpoint, validation_set, config, accelerator, precision)
        self._metrics_log = MetricsLog(run_files.folder, config, accelerator)
        self._eval_steps = config.eval_steps or max(1, self.plan.epoch_steps[0] // 2)
        self._window: list[dict[str, torch.Tensor]] = []  # losses of the steps that were not looked at yet
        self._since_validation: list[float] = []

    def train(self, done: int, checkpoints: Checkpoints, advance: Advance) -> None:
        """Every step that comes after ``done``, or until nothing gets better any more."""
        self._loss_module.train()
        for step, batches in enumerate(self.plan.after(done), start=done + 1):
            self._window.append(self._step(batches))
            validates = step % self._eval_steps == 0 or step == self.plan.steps
            if not validates and step % _LOOK_STEPS:
                advance()
                continue
            note, save = self._look(step, checkpoints.due)
            if validates:
                note = self._validate(step)
            if self.validator.out_of_patience:
                advance(self.plan.steps - step + 1, note=note)
                break
            advance(note=note)
            if save and step < self.plan.steps:
                checkpoints.save(step, self._saved())

    def close(self) -> None:
        """Let the diary's tracker finish, however the training ended."""
        self._metrics_log.close()

    def resume(self, saved: Saved) -> None:
        """Go on from a checkpoint."""
        numbers, tensors = saved.numbers, saved.tensors
        with torch.no_grad():
            for name, weight in self._trained().items():
                weight.copy_(tensors["trained"][name])
        self._optimizer.load(numbers["schedule"], tensors["moments"])
        self.validator.load(numbers["judge"], tensors.get("best", {}))  # none before the first validation
        self._metrics_log.load(numbers["records"])
        self._since_validation = numbers["since_validation"]
        saved.restore_random()

    def _saved(self) -> Saved:
        judged, best = self.validator.state()
        schedule, moments = self._optimizer.state()
        numbers = {
            "judge": judged,
            "schedule": schedule,
            "records": self._metrics_log.records,
            "since_validation": self._since_validation,
        }
        return Saved.now(numbers, {"trained": self._trained(), "moments": moments, "best": best})

    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self._loss_module.named_parameters() if weight.requires_grad}

    def _step(self, batches: list[Rows]) -> dict[str, torch.Tensor]:
        """One step of the optimiser; the losses' means over its batches."""
        sums: dict[str, torch.Tensor] = {}
        for number, rows in enumerate(batches, start=1):
            batch = self._train_set.batch(rows, self._accelerator.device)
            last = number == len(batches)
            with nullcontext() if last else self._accelerator.no_sync(self._shared):
                losses = self._shared(batch)
                # a batch of short texts holds more of them: each text weighs the same
                weight = len(rows) / self.plan.texts_a_batch / len(batches)
                self._accelerator.backward(losses["loss"] * weight)
            sums = {name: sums.get(name, 0) + loss.detach() / len(batches) for name, loss in losses.items()}
        self._optimizer.step(self._accelerator)
        return sums

    def _look(self, step: int, due: bool) -> tuple[str, bool]:
        """Write down the losses since the last look, over all processes; whether all are to save a checkpoint."""
        names = list(self._window[0])
        rows = [torch.stack([losses[name].float() for name in names]) for losses in self._window]
        flag = torch.full_like(rows[0], float(due))  # the clock of one process decides for all
        *means, flags = self._accelerator.reduce(torch.stack([*rows, flag]), "mean").tolist()
        losses = [mean[names.index("loss")] for mean in means]
        for at, loss in enumerate(losses, start=step - len(losses) + 1):
            self._require_finite(at, loss)
        self._window.clear()
        self._since_validation += losses
        latest = {name: sum(column) / len(means) for name, column in zip(names, zip(*means, strict=True), strict=True)}
        self._metrics_log.write(step, {**latest, "learning_rate": self._optimizer.rate(step)})
        return f"loss {latest['loss']:.3f}{self.validator.note}", flags[0] > 0

    def _validate(self, step: int) -> str:
        mean_loss = sum(self._since_validation) / len(self._since_validation)
        self._since_validation.clear()
        value = self.validator.look(step, mean_loss)
        self._loss_module.train()
        self._metrics_log.write(step, {f"validation_{self.validator.training.metric}": value})
        return f"loss {mean_loss:.3f}{self.validator.note}"

    def _require_finite(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise CompressError(
                f"training: the loss is {loss} at step {step}, at learning rate {self._optimizer.rate(step):.1e}; "
                "no model was written, try a lower --learning-rate or --precision fp32"
            )


def _freeze(model: nn.Module, frozen: bool) -> None:
    for table in EncoderView(model).tables:
        table.requires_grad_(not frozen)
