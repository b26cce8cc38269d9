"""The teacher of a search: settings of trainings, estimates of their time, and the cuts that are worth a try."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from compress.clock import CudaStopwatch, Stopwatch
from compress.config import DistillConfig, PruneConfig
from compress.data import Dataset, Split
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.formatting import metric_name
from compress.latency.deployment import deployment_of
from compress.latency.table import expected_seconds, latency_table, models_to_time
from compress.machine import choose_precision, torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.widths import Architecture, Cut, Widths
from compress.pruning.importance import Importance
from compress.pruning.prune import Start
from compress.pruning.ranking import rank
from compress.pruning.search import OutOfReachError, search
from compress.pruning.vocabulary import cut_vocabulary, texts_to_read
from compress.training.batches import Examples, LengthBatches, split_by_tokens
from compress.training.finetune import HardLabels, encode_to_train
from compress.training.loop import PART_TOKENS, TrainedModel
from compress.tuning.candidates import SPEEDUPS
from compress.tuning.plans import ETA

# Epochs are chosen so that about this many texts are read, within these bounds; from benchmarks/distillation.py.
_TEACHER_TEXTS, _TEACHER_EPOCHS = 120_000, (2, 12)
_STUDENT_TEXTS, _STUDENT_EPOCHS = 180_000, (3, 20)
_FEW_TEXTS, _MANY_TEXTS = 5_000, 50_000
_LEAST_TEXTS = 5_000  # read in a first look at a student, in a part of an epoch or in several
TEACHER_BATCH = 32
_WIDE = 768  # the hidden size from which on the learning rate is lower
_TIMED_BATCHES = 3
_TIMED_S, _TIMED_AT_MOST = 1.0, 5  # the batches are timed again for about a second, at most five times in all
_CACHE_BYTES = 4e9  # hidden states that distill keeps by default


def full_epochs(data: Dataset) -> int:
    """The epochs of a full training."""
    return _epochs(data, _STUDENT_TEXTS, *_STUDENT_EPOCHS)


def least_epochs(data: Dataset, full: int) -> float:
    """The epochs of the shortest training worth measuring: a part of one where texts are many, several where few."""
    return min(_LEAST_TEXTS / len(data.train), max(1.0, full / ETA))


def teacher_settings(data: Dataset) -> dict[str, Any]:
    """The settings with which finetune trains a model that is no classifier yet."""
    return {"epochs": _epochs(data, _TEACHER_TEXTS, *_TEACHER_EPOCHS), "batch_size": TEACHER_BATCH}


def student_batch(data: Dataset) -> int:
    """Texts in a batch of a student's training."""
    texts = len(data.train)
    return 32 if texts < _FEW_TEXTS else 64 if texts < _MANY_TEXTS else 128


def student_settings(teacher: Checkpoint, data: Dataset) -> dict[str, Any]:
    """Settings of distill and prune for every student but the epochs; no training stops early."""
    view, texts = EncoderView(teacher.model), len(data.train)
    settings: dict[str, Any] = {
        "learning_rate": 1e-4 if view.hidden_size >= _WIDE else 2e-4,
        "batch_size": student_batch(data),
        "patience": 100,
    }
    few = [data.train.texts[row] for row in range(0, texts, max(1, texts // 256))]
    tokens = sum(len(encoding) for encoding in teacher.encoder(few)) / len(few) * texts
    if tokens * view.hidden_size * 4 * (len(view.layers) // 2) < _CACHE_BYTES:
        settings["hidden_weight"] = 1.0  # else the teacher would run beside every student
    return settings


def epoch_seconds(model: Checkpoint, data: Dataset, batch_size: int) -> float:
    """About the seconds of one epoch of the whole model, from a few batches of the train split.

    A GPU sets up kernels for each new shape of a batch, which can take many times as long as the batch itself. So all
    batches run once before they are timed, and where they are very fast the median of several timings counts.
    """
    device = torch_device(DistillConfig.model_fields["device"].default)
    model.model.to(torch.device(device))  # type: ignore[arg-type]  # its stub has the other signature
    trained = TrainedModel(model.model, HardLabels(), choose_precision("auto", device)).train()
    examples, per_text = _some_examples(model, data, batch_size)
    lengths = examples.encodings.lengths
    batches = LengthBatches(lengths, batch_size, 0).epoch(0)
    parts = [part for rows in batches for part in split_by_tokens(rows, lengths, PART_TOKENS[device])]  # as in training

    def all_done_s() -> float:
        watch = CudaStopwatch() if device == "cuda" else Stopwatch()
        for part in parts:
            batch = examples.batch(part, torch.device(device))
            HardLabels()(trained(batch), batch)["loss"].backward()
        return watch.milliseconds / 1000

    all_done_s()
    seconds = [all_done_s()]
    while sum(seconds) < _TIMED_S and len(seconds) < _TIMED_AT_MOST:
        seconds.append(all_done_s())
    trained.zero_grad()
    model.model.eval().cpu()
    return float(np.median(seconds)) / len(examples) * per_text * len(data.train)


def cuts_of(teacher: Checkpoint, data: Dataset, threads: int, seed: int) -> dict[float, Cut]:
    """Cuts for several latencies, by their speed-up, from one importance and one latency table.

    The table is for texts as long as the validation texts.
    """
    config = PruneConfig(speedup=max(SPEEDUPS), seed=seed)
    data = replace(data, test=Split([], []))
    start = Start.of(teacher, data, config)
    importance: Importance = rank(start.model, start.sample, config)
    architecture, whole = Architecture.of(teacher.model), Widths.of(teacher.model)
    table = latency_table(architecture, whole, deployment_of(teacher, data, config, threads))
    cuts = {}
    for speedup in SPEEDUPS:
        try:
            cuts[speedup] = search(importance, table, table.latency_ms(whole) / speedup)
        except OutOfReachError:
            break
    return cuts


def cuts_seconds(whole: Widths, epoch_s: float, texts: int, int8_ms: float) -> float:
    """About the seconds of :func:`cuts_of` where an answer of the whole int8 model takes ``int8_ms``."""
    importance_s = epoch_s * min(1.0, PruneConfig.model_fields["samples"].default / texts)
    models = models_to_time(len(whole.heads), max(whole.heads), max(whole.neurons))
    return float(importance_s + expected_seconds(len(models), int8_ms))


def vocabulary_left(teacher: Checkpoint, data: Dataset) -> int:
    """The number of tokens that a smaller vocabulary would keep; 0 where the tokenizer cannot lose any."""
    try:
        smaller = cut_vocabulary(teacher, texts_to_read(data, PruneConfig(vocabulary=True), ()))
    except CompressError:
        return 0
    return int(smaller.model.config.vocab_size)


def check_better_than_a_constant(name: str, metric: str, value: float, always: float, answer: str) -> None:
    """Refuse a teacher that has learned nothing: a student could only learn that from it."""
    if value <= always:
        raise CompressError(
            f"{name}: its {metric_name(metric)} of {value:.1%} on validation is no better than that of always "
            f"answering {answer}, which is {always:.1%}; train it longer, or look at the data"
        )


def _epochs(data: Dataset, texts: int, least: int, most: int) -> int:
    return min(most, max(least, round(texts / len(data.train))))


def _some_examples(model: Checkpoint, data: Dataset, batch_size: int) -> tuple[Examples, float]:
    """Examples of a few train texts, and the number of examples a text: above 1 where it is read in windows."""
    count = _TIMED_BATCHES * batch_size
    step = max(1, len(data.train) // count)
    rows = range(0, len(data.train), step)[:count]
    examples = encode_to_train(model, data.train.of_rows(rows))
    return examples, len(examples) / len(rows)
