"""Logits made of the answers of several teachers, or of answers made elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from compress.distillation.answers import Probabilities
from compress.modeling.states import LOGITS, Batch, States
from compress.training.batches import TeacherOutputs

ANSWERED = "answered"
"""The state that says which texts of a batch have an answer made elsewhere, bool ``[batch]``."""

# Taken for a probability of 0, whose logarithm is infinite.
_SMALLEST = 1e-30
_SMALLEST_BESIDE_1 = 1e-15  # for multi-label, where 1 minus it must differ from 1


def as_logits(probabilities: torch.Tensor, *, multi_label: bool) -> torch.Tensor:
    """Float32 logits, ``[batch, labels]``, from which softmax, or sigmoid for multi-label, gives ``probabilities``."""
    if multi_label:
        return torch.logit(probabilities, eps=_SMALLEST_BESIDE_1).float()
    return torch.log(probabilities.clamp(min=_SMALLEST)).float()


@dataclass(frozen=True)
class MeanOutputs:
    """Several teachers as one: the mean of their probabilities, as logits; all other states are the first teacher's.

    It is the arithmetic mean at temperature 1, as ensembles answer (Hinton et al. 2015; Lakshminarayanan et
    al. 2017): a teacher that is unsure then counts less than one that is sure, whatever the size of its logits.
    """

    teachers: Sequence[TeacherOutputs]
    multi_label: bool

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        states = [teacher(rows, batch) for teacher in self.teachers]
        logits = torch.stack([state[LOGITS].double() for state in states])
        probabilities = torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=-1)
        return states[0] | {LOGITS: as_logits(probabilities.mean(dim=0), multi_label=self.multi_label)}


@dataclass(frozen=True)
class AnswerOutputs:
    """Answers made elsewhere, as logits; all other states are the ``teacher``'s, if there is one.

    ``probabilities`` are float64 ``[texts, labels]``; NaN for a text without an answer.
    """

    probabilities: Probabilities
    multi_label: bool
    teacher: TeacherOutputs | None = None

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        probabilities = torch.from_numpy(self.probabilities[np.asarray(rows, dtype=np.int64)])
        states = self.teacher(rows, batch) if self.teacher is not None else {}
        logits = as_logits(probabilities, multi_label=self.multi_label)
        answered = {ANSWERED: ~probabilities.isnan().any(dim=1), LOGITS: logits}
        return states | {name: state.to(batch["input_ids"].device) for name, state in answered.items()}
