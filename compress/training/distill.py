"""distill: make a student of some of the teacher's layers and train it to answer as the teacher does."""

import copy

from torch import nn

from compress.config import DistillConfig, PruneConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.machine import choose_precision, torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.progress import progress
from compress.runtime.predictor import Logits, encoded_logits
from compress.task import is_multi_label
from compress.training.finetune import encode
from compress.training.loop import Training, train
from compress.training.losses import distillation_loss


def distill(teacher: Checkpoint, student: Checkpoint, data: Dataset, config: DistillConfig | PruneConfig) -> Training:
    """Train ``student``, in place, on the teacher's soft labels and the data's hard ones.

    The teacher reads each train text once, whatever the number of epochs.
    """
    train_set = encode(student, data.train).with_teacher(teacher_logits(teacher, student.labels, data, config))
    loss = distillation_loss(config.temperature, config.hard_weight, multi_label=is_multi_label(student.task))
    return train(student, train_set, encode(student, data.validation), loss, config)


def teacher_logits(
    teacher: Checkpoint, labels: tuple[str, ...], data: Dataset, config: DistillConfig | PruneConfig
) -> Logits:
    """The teacher's logits for the train texts, float32 ``[n, labels]``, its columns in the student's order."""
    device = torch_device(config.device)
    predictor = TorchPredictor(teacher, device, choose_precision(config.precision, device))
    encodings = teacher.encoder(data.train.texts)
    with progress("teacher", len(encodings)) as advance:
        logits = encoded_logits(predictor, encodings, advance)
    teacher.model.cpu()
    return logits[:, [teacher.labels.index(label) for label in labels]]


def student_from_layers(teacher: Checkpoint, layers: int | list[int] | None) -> Checkpoint:
    """A copy of the teacher that keeps only ``layers``: a number of evenly spaced ones (default half), or a list.

    Keeping every other layer is the start that DistilBERT found good (Sanh et al. 2019).
    """
    chosen = _chosen(layers, len(teacher.model.bert.encoder.layer))
    model = copy.deepcopy(teacher.model)
    model.bert.encoder.layer = nn.ModuleList(model.bert.encoder.layer[index] for index in chosen)
    config = model.config
    config.num_hidden_layers = len(chosen)
    for widths in ("heads_per_layer", "neurons_per_layer"):
        if hasattr(config, widths):
            setattr(config, widths, [getattr(config, widths)[index] for index in chosen])
    return teacher.with_model(model)


def _chosen(layers: int | list[int] | None, available: int) -> list[int]:
    if layers is None:
        layers = max(1, available // 2)
    if isinstance(layers, int):
        if layers > available:
            raise CompressError(f"distill.layers must be at most {available}, the teacher's layers, got {layers}")
        return [index * available // layers for index in range(layers)]
    if max(layers) >= available or len(set(layers)) < len(layers) or sorted(layers) != layers:
        raise CompressError(
            f"distill.layers must be rising layer numbers from 0 to {available - 1}, got {','.join(map(str, layers))}"
        )
    return layers
