"""The parts of a distillation loss: which states each compares, and the weights that it learns on the way.

Each is called with the student's states, the teacher's and the batch, all float32, and gives a scalar.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from compress.distillation.losses import attention, dot_products, relation, soft_labels, token_mse
from compress.errors import CompressError
from compress.modeling.states import Batch, States
from compress.training.objective import hard_labels

Pairs = Sequence[tuple[str, str]]
"""Names of states: the student's, and the teacher's that it imitates."""


class LossTerm(nn.Module):
    """One loss.

    Attributes:
        pairs: the states that it compares.
        wanted: states of the student that it reads.
        teacher_wanted: states of the teacher that it reads.
    """

    wanted: frozenset[str]
    teacher_wanted: frozenset[str]

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs
        self.wanted = frozenset(student for student, _ in pairs)
        self.teacher_wanted = frozenset(teacher for _, teacher in pairs)


class Soft(LossTerm):
    """The teacher's soft labels."""

    def __init__(self, temperature: float, *, multi_label: bool) -> None:
        super().__init__([("logits", "logits")])
        self._temperature = temperature
        self._multi_label = multi_label

    def forward(self, student: States, teacher: States, _batch: Batch) -> torch.Tensor:
        return soft_labels(student["logits"], teacher["logits"], self._temperature, multi_label=self._multi_label)


class Hard(LossTerm):
    """The data's labels, summed over the texts that have one and divided by all texts of the batch.

    So a text weighs the same beside many without a label as beside few.
    """

    def __init__(self) -> None:
        super().__init__([])
        self.wanted = frozenset({"logits"})

    def forward(self, student: States, _teacher: States, batch: Batch) -> torch.Tensor:
        logits, labelled = student["logits"], batch["labelled"]
        if not labelled.any():
            return logits.sum() * 0  # still a function of the student, for backward
        return hard_labels(logits[labelled], batch["targets"][labelled]) * labelled.float().mean()


class Tokens(LossTerm):
    """Embeddings or hidden states, a mean over the pairs.

    Where the widths differ, a linear map that is learned along brings the student's to the teacher's width; one map
    serves all pairs, as in TinyBERT (Jiao et al. 2020). It starts orthogonal, which keeps lengths and angles.
    """

    def __init__(self, pairs: Pairs, student_width: int, teacher_width: int, seed: int) -> None:
        super().__init__(pairs)
        self.map: nn.Module = nn.Identity()
        if student_width != teacher_width:
            self.map = nn.utils.skip_init(nn.Linear, student_width, teacher_width, bias=False)
            nn.init.orthogonal_(self.map.get_parameter("weight"), generator=torch.Generator().manual_seed(seed))

    def forward(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        mask = batch["attention_mask"].bool()
        return _mean([token_mse(self.map(student[own]), teacher[its], mask) for own, its in self.pairs])


class Attention(LossTerm):
    """Attention, a mean over layers.

    Args:
        layers: for each student layer the teacher's.
        student_heads: attention heads of each student layer.
        teacher_heads: attention heads of each teacher layer.
    """

    def __init__(self, layers: Sequence[int], student_heads: Sequence[int], teacher_heads: Sequence[int]) -> None:
        super().__init__(
            [(f"{kind}.{own}", f"{kind}.{its}") for own, its in enumerate(layers) for kind in ("query", "key")]
        )
        self._layers = [(own, student_heads[own], its, teacher_heads[its]) for own, its in enumerate(layers)]

    def forward(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        mask = batch["attention_mask"].bool()
        return _mean(
            [
                attention(_scores(student, own, own_heads), _scores(teacher, its, its_heads), mask)
                for own, own_heads, its, its_heads in self._layers
            ]
        )


class Relation(LossTerm):
    """Query, key and value relations of one layer, a mean over the three.

    Args:
        student_layer: which one learns.
        teacher_layer: from which.
    """

    def __init__(self, student_layer: int, teacher_layer: int) -> None:
        super().__init__([(f"{kind}.{student_layer}", f"{kind}.{teacher_layer}") for kind in ("query", "key", "value")])

    def forward(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        mask = batch["attention_mask"].bool()
        return _mean([relation(student[own], teacher[its], mask) for own, its in self.pairs])


class Custom(LossTerm):
    """A loss of the user's own; it is shown the logits, and the states that it names.

    Args:
        loss: called with the student's states, the teacher's and the batch; may have attributes ``wanted`` and
            ``teacher_wanted``, names of states, and may be a module with weights to learn.
        setting: where it was given, for errors.
    """

    def __init__(self, loss: Callable[..., Any], setting: str) -> None:
        super().__init__([("logits", "logits")])
        self.wanted |= set(getattr(loss, "wanted", ()))
        self.teacher_wanted |= set(getattr(loss, "teacher_wanted", ()))
        self._loss = loss
        self._setting = setting

    def forward(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        own = {name: student[name] for name in self.wanted}
        its = {name: teacher[name] for name in self.teacher_wanted}
        value = self._loss(own, its, batch)
        if not isinstance(value, torch.Tensor):
            raise CompressError(f"{self._setting} must give a scalar tensor, got {type(value).__name__}")
        if value.ndim or not value.is_floating_point():
            raise CompressError(
                f"{self._setting} must give a scalar tensor of floats, got {value.dtype} of shape {list(value.shape)}; "
                "a mean over texts makes one"
            )
        return value


def _scores(states: States, layer: int, heads: int) -> torch.Tensor:
    return dot_products(states[f"query.{layer}"], states[f"key.{layer}"], heads)


def _mean(losses: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(losses).mean()
