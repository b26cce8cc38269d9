"""The training loop: AdamW, linear warm-up and decay, clipping, early stopping; the best weights are kept."""

import math
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import nn

from compress.config import TrainingConfig
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.machine import choose_precision, torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import LOGITS, Batch, States, first_token_alone, recording
from compress.progress import progress, say
from compress.training.batches import BatchSchedule, Examples, Rows, split_by_tokens
from compress.training.optimization import Losses, Objective, Optimizer, usual_rate
from compress.training.run_files import Checkpoints, MetricsLog, RunFiles, TrainingState, identity_of
from compress.training.validator import Divergence, TrainingResult, Validator

# Tokens, padding included, whose activations are held at once; a larger batch is computed in parts, one by one. On a
# CPU so few also keep tensors below the 32 MB from which glibc gives memory back at once, only to fetch it again: parts
# of 2,048 took 7% more CPU time for texts of 512 tokens.
PART_TOKENS = {"cpu": 1024, "cuda": 32768}
# Losses are checked, shown and written down every 10 steps: reading them makes a GPU wait.
_LOG_STEPS = 10


def train(
    checkpoint: Checkpoint,
    train_set: Examples,
    validation_set: Examples,
    objective: Objective,
    config: TrainingConfig,
    run_files: RunFiles,
    divergence: Divergence | None = None,
) -> TrainingResult:
    """Train ``checkpoint.model`` in place and leave it with the weights that did best on ``validation_set``.

    The best weights are those with the least ``divergence`` or, without one, the highest metric; of equal ones the
    latest.

    Killed and called again with the same arguments, it goes on from its newest checkpoint and ends with the same
    weights. Under ``torchrun`` or ``accelerate launch`` the processes share each step's batches.

    Raises:
        CompressError: the loss is not a number.
    """
    run = _Run(checkpoint, train_set, validation_set, objective, config, run_files, divergence)
    done = run.resume()
    with closing(run.metrics_log), progress("training", run.schedule.steps, done) as advance:
        for step, batches in enumerate(run.schedule.after(done), start=done + 1):
            for batch, share in run.load(batches):
                states = run.model(batch)
                losses = objective(states, batch)
                run.backward(losses, states, share)
                del batch, states  # both are large, and the next part needs the room
            run.optimizer.step(run.accelerator)
            note, stop = run.after_step(step)
            advance(run.schedule.steps - step + 1 if stop else 1, note=note)
            if stop:
                break
    run.validator.restore_best()
    checkpoint.model.eval()
    return run.validator.result


class TrainedModel(nn.Module):
    """The model in training: maps a batch to the states that the objective reads; logits are float32.

    The objective's own weights are part of the module, so that processes that train together average their gradients
    too. With ``bf16`` the model runs under autocast; the losses are always computed in fp32.
    """

    def __init__(self, model: nn.Module, objective: Objective, precision: str) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self._bf16 = precision == "bf16"

    def forward(self, batch: Batch) -> States:
        autocast = torch.autocast(batch["input_ids"].device.type, torch.bfloat16, enabled=self._bf16)
        wanted = self.objective.wanted
        with first_token_alone(self.model, wanted), recording(self.model, wanted) as states, autocast:
            logits = self.model(**EncoderView(self.model).inputs(batch)).logits
        return {**states, LOGITS: logits.float()}


@dataclass(frozen=True)
class Share:
    """What a part of a step's texts weighs in the step's gradient, and in the losses that are logged."""

    of_gradient: float
    of_log: float


class _Run:
    """Everything that changes during a training, and how it is saved and restored; arguments as for :func:`train`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        train_set: Examples,
        validation_set: Examples,
        objective: Objective,
        config: TrainingConfig,
        run_files: RunFiles,
        divergence: Divergence | None,
    ) -> None:
        self.accelerator = accelerator = _accelerator(config, run_files)
        self._train_set = train_set
        modules = [module for module in (checkpoint.model, objective) if isinstance(module, nn.Module)]
        identity = identity_of(modules, (train_set, validation_set), config, run_files, accelerator.num_processes)
        self._checkpoints = Checkpoints(run_files, identity, config.checkpoint_seconds, accelerator)
        set_seed(config.seed, device_specific=True)
        for table in EncoderView(checkpoint.model).tables:
            table.requires_grad_(not config.freeze_embeddings)
        self._lengths = train_set.encodings.lengths
        self.schedule = BatchSchedule(self._lengths, config, accelerator.num_processes, accelerator.process_index)
        precision = choose_precision(config.precision, accelerator.device.type)
        self._plain_model = TrainedModel(checkpoint.model, objective, precision)
        self.model: nn.Module = accelerator.prepare(self._plain_model)
        self.model.train()
        rate = config.learning_rate or usual_rate(EncoderView(checkpoint.model).hidden_size)
        self.optimizer = Optimizer(self._plain_model, config, rate, self.schedule.steps)
        self.validator = Validator(checkpoint, validation_set, config, accelerator, precision, divergence)
        frozen = bool(config.freeze_embeddings)
        chosen = {"learning_rate": rate, "precision": precision, "freeze_embeddings": frozen}
        self.validator.result.trained_with |= chosen
        self.metrics_log = MetricsLog(run_files, config, accelerator)
        self._eval_steps = config.eval_steps or max(1, self.schedule.epoch_steps[0] // 2)
        self._unlogged: list[Losses] = []  # of each step since the losses were last logged
        self._since_validation: list[float] = []

    def load(self, batches: list[Rows]) -> Iterator[tuple[Batch, Share]]:
        """The batches of one step, in parts that each fit into memory.

        The parts together have the gradient of the whole batches; only dropout draws other numbers.
        """
        self._unlogged.append({})
        texts = sum(map(len, batches))
        parts = [part for rows in batches for part in self._parts(rows)]
        for number, rows in enumerate(parts, start=1):
            # Processes exchange gradients once a step, after its last part.
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(self.model):
                # A batch of short texts holds more of them: each text weighs the same.
                weight = len(rows) / self.schedule.texts_per_batch / len(batches)
                yield self._train_set.batch(rows, self.accelerator.device), Share(weight, len(rows) / texts)

    def _parts(self, rows: Rows) -> list[Rows]:
        if not self._plain_model.objective.by_text:
            return [rows]
        return split_by_tokens(rows, self._lengths, PART_TOKENS[self.accelerator.device.type])

    def backward(self, losses: Losses, states: States, share: Share) -> None:
        """Add the gradients of a part to those of its step."""
        # Every weight gets a gradient, if only a zero: processes that train together wait for all of them.
        losses = losses | {"loss": losses["loss"] + 0.0 * states[LOGITS].sum()}
        self.accelerator.backward(losses["loss"] * share.of_gradient)
        sums = self._unlogged[-1]
        self._unlogged[-1] = {name: sums.get(name, 0) + loss.detach() * share.of_log for name, loss in losses.items()}

    def after_step(self, step: int) -> tuple[str, bool]:
        """Log, validate and save where it is time. Returns a note for the progress bar, and whether to stop early."""
        last = step == self.schedule.steps
        validates = last or step % self._eval_steps == 0
        if not validates and step % _LOG_STEPS:
            return "", False
        loss, save = self._log_losses(step)
        if validates:
            loss = self._validate(step)
        stop = self.validator.out_of_patience
        if save and not (stop or last):
            self._checkpoints.save(step, self._state())
        return f"loss {loss:.3f}{self.validator.note}", stop

    def resume(self) -> int:
        """Go on from the newest checkpoint of this training. Returns the steps done by then, 0 without a checkpoint."""
        newest = self._checkpoints.newest()
        if newest is None:
            return 0
        done, state = newest
        with torch.no_grad():
            for name, weight in self._trained().items():
                weight.copy_(state["trained"][name])
        self.optimizer.load(state["optimizer"])
        self.validator.load(state["validator"])
        self.metrics_log.load(state["records"])
        self._since_validation = state["since_validation"]
        say(f"training: goes on after step {done}, where it was interrupted")
        return done

    def _state(self) -> TrainingState:
        return {
            "trained": self._trained(),
            "optimizer": self.optimizer.state(),
            "validator": self.validator.state(),
            "records": self.metrics_log.records,
            "since_validation": self._since_validation,
        }

    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self._plain_model.named_parameters() if weight.requires_grad}

    def _log_losses(self, step: int) -> tuple[float, bool]:
        """Log the mean losses since the last log, over all processes. Returns the loss, and whether all shall save."""
        names = list(self._unlogged[0])
        rows = [torch.stack([losses[name].float() for name in names]) for losses in self._unlogged]
        due = torch.full_like(rows[0], float(self._checkpoints.due))  # where one process is to save, all save
        *means, dues = self.accelerator.reduce(torch.stack([*rows, due]), "mean").tolist()
        losses = [mean[names.index("loss")] for mean in means]
        for at, loss in enumerate(losses, start=step - len(losses) + 1):
            if not math.isfinite(loss):
                raise CompressError(
                    f"training: the loss is {loss} at step {at}, at learning rate {self.optimizer.rate(at):.1e}; "
                    "no model was written, try a lower --learning-rate or --precision fp32"
                )
        self._unlogged.clear()
        self._since_validation += losses
        latest = {name: sum(column) / len(means) for name, column in zip(names, zip(*means, strict=True), strict=True)}
        self.metrics_log.write(step, {**latest, "learning_rate": self.optimizer.rate(step)})
        return latest["loss"], dues[0] > 0

    def _validate(self, step: int) -> float:
        """Validate and log the scores. Returns the mean training loss since the last validation."""
        mean_loss = sum(self._since_validation) / len(self._since_validation)
        self._since_validation.clear()
        scores = self.validator.validate(step, mean_loss)
        self.model.train()
        self.metrics_log.write(step, {f"validation_{name}": value for name, value in scores.items()})
        return mean_loss


def _accelerator(config: TrainingConfig, run_files: RunFiles) -> Accelerator:
    # accelerate keeps one state for the process; a pipeline may train twice with different settings.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision="no",  # TrainedModel has an autocast of its own, which leaves out the losses
        cpu=torch_device(config.device) == "cpu",
        log_with=config.track,
        project_dir=run_files.folder / "tracking" if config.track else None,
    )
