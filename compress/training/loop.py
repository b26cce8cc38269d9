"""The training loop: AdamW, linear warm-up and decay, clipping, early stopping, the best checkpoint kept."""

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from compress.config import TrainingConfig
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.progress import progress, say
from compress.training.batches import Examples
from compress.training.checkpointing import Checkpoints, RunFiles, identity_of
from compress.training.objective import Objective
from compress.training.run import Run
from compress.training.validator import TrainingResult


def train(
    checkpoint: Checkpoint,
    train_set: Examples,
    validation_set: Examples,
    objective: Objective,
    config: TrainingConfig,
    run_files: RunFiles,
) -> TrainingResult:
    """Train ``checkpoint.model`` in place and leave it with the weights that did best on ``validation_set``.

    Killed and called again with the same arguments, it goes on from its newest checkpoint and ends with the same
    weights. Under ``torchrun`` or ``accelerate launch`` the processes share each step's batches.

    Args:
        checkpoint: the model to train.
        train_set: what it learns from; the labels of some texts may be unknown.
        validation_set: what decides which weights are kept.
        objective: what it is trained for.
        config: the training's settings.
        run_files: where its diary and checkpoints go.

    Raises:
        CompressError: a loss that is not a number.
    """
    accelerator = _accelerator(config, run_files)
    modules = [module for module in (checkpoint.model, objective) if isinstance(module, nn.Module)]
    identity = identity_of(modules, (train_set, validation_set), config, run_files.inputs, accelerator.num_processes)
    checkpoints = Checkpoints(run_files, identity, config.checkpoint_seconds, accelerator)
    run, done = Run(checkpoint, train_set, validation_set, objective, config, run_files, accelerator), 0
    if newest := checkpoints.newest():
        done, saved = newest
        run.resume(saved)
        say(f"training: goes on after step {done}, where it was interrupted")
    try:
        with progress("training", run.plan.steps, done) as advance:
            run.train(done, checkpoints, advance)
    finally:
        run.close()
    run.validator.restore_best()
    checkpoint.model.eval()
    return run.validator.training


def _accelerator(config: TrainingConfig, run_files: RunFiles) -> Accelerator:
    # accelerate keeps one state for the process; a pipeline may train twice with different settings.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision="no",  # the trainee has its own autocast, around the model and not around the losses
        cpu=torch_device(config.device) == "cpu",
        log_with=config.track,
        project_dir=run_files.folder / "tracking" if config.track else None,
    )
