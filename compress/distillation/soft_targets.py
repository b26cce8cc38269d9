"""Logits that stand for several teachers, or for answers made elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from compress.distillation.answers import Probabilities
from compress.distillation.teacher_cache.shard import LOGITS
from compress.modeling.states import Batch, States
from compress.training.batches import TeacherOutputs

ANSWERED = "answered"
"""Beside answers made elsewhere: which texts of a batch have one, bool ``[batch]``."""

# In the place of a probability of 0, whose logarithm is not a number to learn from.
_SMALLEST = 1e-30
_SMALLEST_BESIDE_1 = 1e-15  # 1 less than which is still another number


def as_logits(probabilities: torch.Tensor, *, multi_label: bool) -> torch.Tensor:
    """Float32 logits, ``[batch, labels]``, from which softmax, or sigmoid for multi-label, gives ``probabilities``."""
    if multi_label:
        return torch.logit(probabilities, eps=_SMALLEST_BESIDE_1).float()
    return torch.log(probabilities.clamp(min=_SMALLEST)).float()


@dataclass(frozen=True)
class MeanOutputs:
    """Several teachers as one: the mean of their probabilities, as logits; all other states are the first teacher's.

    An arithmetic mean of probabilities at temperature 1, as ensembles answer (Hinton et al. 2015; Lakshminarayanan et
    al. 2017): a teacher that is unsure then counts less than one that is sure, whatever the size of its logits.
    """

    teachers: Sequence[TeacherOutputs]
    multi_label: bool

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        states = [teacher(rows, batch) for teacher in self.teachers]
        logits = torch.stack([state[LOGITS].double() for state in states])
        each = torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=-1)
        return states[0] | {LOGITS: as_logits(each.mean(dim=0), multi_label=self.multi_label)}


@dataclass(frozen=True)
class AnswerOutputs:
    """Answers made elsewhere, as logits; all other states are the ``teacher``'s, if there is one.

    ``probabilities`` are float64 ``[texts, labels]``; a text without an answer has none that are numbers.
    """

    probabilities: Probabilities
    multi_label: bool
    teacher: TeacherOutputs | None = None

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        found = torch.from_numpy(self.probabilities[np.asarray(rows, dtype=np.int64)])
        states = self.teacher(rows, batch) if self.teacher is not None else {}
        answered = {ANSWERED: ~found.isnan().any(dim=1), LOGITS: as_logits(found, multi_label=self.multi_label)}
        return states | {name: state.to(batch["input_ids"].device) for name, state in answered.items()}
