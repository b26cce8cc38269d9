"""After the cut: training to recover, or none, and how the model does then."""

from collections.abc import Sequence

from compress.config import PruneConfig
from compress.data import Dataset, Split
from compress.distillation.distill import distill
from compress.evaluation.metrics import choose_metric, positive_column, score
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.progress import say
from compress.runtime.predictor import predict_logits
from compress.training.checkpointing import RunFiles
from compress.training.validator import TrainingResult


def recover(
    teacher: Checkpoint,
    pruned: Checkpoint,
    data: Dataset,
    config: PruneConfig,
    run_files: RunFiles,
    text_columns: Sequence[str],
) -> TrainingResult:
    """Train ``pruned``, in place, to answer as ``teacher`` does; or leave it as it is where there are no epochs."""
    if config.epochs:
        return distill(teacher, pruned, data, config, run_files, text_columns)
    say("prune: nothing is trained; --epochs 2 would train for 2 passes over the train split")
    return untrained(pruned, data.validation, config)


def untrained(model: Checkpoint, validation: Split, config: PruneConfig) -> TrainingResult:
    """What a training of no steps would say: how ``model`` does on the validation split as it is."""
    logits = predict_logits(TorchPredictor(model, torch_device(config.device)), validation.texts)
    model.model.cpu()
    metric = choose_metric(config.metric, model.task, len(model.labels))
    targets = validation.targets(model.labels, model.task)
    return TrainingResult(metric, best=score(metric, logits, targets, positive=positive_column(model.labels)))
