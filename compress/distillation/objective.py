"""The objective of distillation: a weighted sum of losses that compare a student with its teacher and the labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from compress.config import DistillationConfig
from compress.config.training import NOTHING_TO_LEARN
from compress.distillation.losses import attention, dot_products, relation, soft_labels, token_mse
from compress.distillation.soft_targets import ANSWERED
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.modeling.states import Batch, States, state_modules
from compress.modeling.widths import Widths
from compress.training.optimization import TEACHER, Losses, hard_labels

Pairs = list[tuple[str, str]]
"""Names of states: the student's, and the teacher's that it is compared with."""


class Distillation(nn.Module):
    """What a student learns from its teacher and the data; a :class:`compress.training.optimization.Objective`.

    Its parameters are the maps between hidden sizes, which are trained with the student and then dropped, and those of
    the user's own loss.

    Args:
        student: the model that learns; only its shape is read.
        teacher: the model that it imitates; only its shape is read.
        config: the weights of the loss terms and their settings.
        multi_label: whether labels are independent of each other.

    Raises:
        CompressError: all weights are 0, or a term needs a layer or a state that a model does not have.
    """

    weights: dict[str, float]
    """Of the loss terms, by name; terms of weight 0 are left out and not computed."""

    pairs: dict[str, Pairs]
    """The states that each of these terms compares."""

    wanted: frozenset[str]
    """The states that the student must show beside the logits."""

    teacher_wanted: frozenset[str]
    """The states that a batch must hold, each under ``teacher.`` and its name; logits only if a term reads them."""

    by_text: bool
    """Whether each term is a mean over texts; a loss of the user's own may compare the texts of a batch."""

    def __init__(
        self, student: nn.Module, teacher: nn.Module, config: DistillationConfig, *, multi_label: bool
    ) -> None:
        super().__init__()
        self._temperature, self._multi_label = config.temperature, multi_label
        self._heads, self._teacher_heads = Widths.of(student).heads, Widths.of(teacher).heads
        self._layers = _layer_map(config, len(self._heads), len(self._teacher_heads))
        self.weights = {name: weight for name, weight in config.weights.items() if weight > 0}
        if not self.weights:  # distill says so sooner; prune may have nothing to train
            raise CompressError(f"{config.command} {NOTHING_TO_LEARN}")
        self.by_text = "custom" not in self.weights
        pairs = _pairs(self._layers, _relation_layer(config, len(self._teacher_heads)))
        self.pairs = {name: pairs[name] for name in self.weights}
        sizes = EncoderView(student).hidden_size, EncoderView(teacher).hidden_size
        mapped = [name for name in ("embedding", "hidden") if name in self.weights]
        self.maps = nn.ModuleDict({name: _size_map(*sizes, config.seed) for name in mapped})
        compared = [pair for each in self.pairs.values() for pair in each]
        self.wanted = frozenset(own for own, _ in compared) - {"logits"}
        self.teacher_wanted = frozenset(its for _, its in compared)
        if "custom" in self.weights and config.loss is not None:
            self.custom = CustomLoss(config.loss, f"{config.command}.loss")
            self.wanted |= self.custom.wanted - {"logits"}
            self.teacher_wanted |= self.custom.teacher_wanted
        state_modules(student, self.wanted, "student")
        state_modules(teacher, self.teacher_wanted, "teacher")

    def forward(self, states: States, batch: Batch) -> Losses:
        """``loss``, and its terms before weighting, detached from the graph: soft, hard, embedding, and so on.

        The states may have any precision; the losses are float32.
        """
        student = {name: states[name].float() for name in {"logits", *self.wanted}}
        teacher = {name: batch[TEACHER + name].float() for name in self.teacher_wanted}
        mask = batch["attention_mask"].bool()
        terms: Losses = {}
        if "soft" in self.weights:
            terms["soft"] = self._soft_loss(student["logits"], teacher["logits"], batch.get(TEACHER + ANSWERED))
        if "hard" in self.weights:
            terms["hard"] = _labelled_loss(student["logits"], batch)
        for name, to_teacher_size in self.maps.items():  # embedding and hidden
            losses = [token_mse(to_teacher_size(student[own]), teacher[its], mask) for own, its in self.pairs[name]]
            terms[name] = _mean(losses)
        if "attention" in self.weights:
            terms["attention"] = self._attention_loss(student, teacher, mask)
        if "relation" in self.weights:
            terms["relation"] = _mean(relation(student[own], teacher[its], mask) for own, its in self.pairs["relation"])
        if "custom" in self.weights:
            terms["custom"] = self.custom(student, teacher, batch)
        total = torch.stack([self.weights[name] * loss for name, loss in terms.items()]).sum()
        return {"loss": total, **{name: loss.detach() for name, loss in terms.items()}}

    def _soft_loss(self, student: torch.Tensor, teacher: torch.Tensor, answered: torch.Tensor | None) -> torch.Tensor:
        """Only of the ``answered`` texts, if some are not, but like the labels' divided by all texts of the batch."""
        if answered is None:
            return soft_labels(student, teacher, self._temperature, multi_label=self._multi_label)
        if not answered.any():
            return student.sum() * 0  # still a function of the student, for backward
        both = student[answered], teacher[answered]
        return soft_labels(*both, self._temperature, multi_label=self._multi_label) * answered.float().mean()

    def _attention_loss(self, student: States, teacher: States, mask: torch.Tensor) -> torch.Tensor:
        """The mean over the student's layers."""

        def scores(states: States, layer: int, heads: Sequence[int]) -> torch.Tensor:
            return dot_products(states[f"query.{layer}"], states[f"key.{layer}"], heads[layer])

        return _mean(
            attention(scores(student, own, self._heads), scores(teacher, its, self._teacher_heads), mask)
            for own, its in enumerate(self._layers)
        )


class CustomLoss(nn.Module):
    """A loss of the user's own, called with the student's states, the teacher's and the batch.

    It reads the logits, and the states that its attributes ``wanted`` and ``teacher_wanted`` name, if it has them. It
    may be a module with weights to learn. ``setting`` names it in errors.
    """

    def __init__(self, loss: Callable[..., Any], setting: str) -> None:
        super().__init__()
        self.wanted = frozenset({"logits", *getattr(loss, "wanted", ())})
        self.teacher_wanted = frozenset({"logits", *getattr(loss, "teacher_wanted", ())})
        self._loss = loss
        self._setting = setting

    def forward(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        """The scalar that the user's loss returns."""
        own = {name: student[name] for name in self.wanted}
        its = {name: teacher[name] for name in self.teacher_wanted}
        value = self._loss(own, its, batch)
        if not isinstance(value, torch.Tensor):
            raise CompressError(f"{self._setting} must give a scalar tensor, got {type(value).__name__}")
        if value.ndim or not value.is_floating_point():
            raise CompressError(
                f"{self._setting} must give a scalar tensor of floats, got {value.dtype} of shape "
                f"{list(value.shape)}; a mean over texts makes one"
            )
        return value


def _layer_map(config: DistillationConfig, student_layers: int, teacher_layers: int) -> list[int]:
    """The teacher layer that each student layer imitates; by default evenly spaced ones, the last for the last.

    Raises:
        CompressError: the setting names another number of layers than the student has, or one the teacher lacks.
    """
    given = config.layer_map
    if given is None:  # a student deeper than its teacher has layers below the teacher's first share
        return [max(0, (layer + 1) * teacher_layers // student_layers - 1) for layer in range(student_layers)]
    if len(given) != student_layers or max(given) >= teacher_layers:
        raise CompressError(
            f"{config.command}.layer_map must name {student_layers} teacher layers, one for each student layer, "
            f"from 0 to {teacher_layers - 1}, got {','.join(map(str, given))}"
        )
    return given


def _relation_layer(config: DistillationConfig, teacher_layers: int) -> int:
    """The teacher layer whose relations the student's last layer learns; the teacher must have it."""
    given = teacher_layers - 1 if config.relation_layer is None else config.relation_layer
    if given >= teacher_layers:
        raise CompressError(
            f"{config.command}.relation_layer must be a teacher layer from 0 to {teacher_layers - 1}, got {given}"
        )
    return given


def _pairs(layers: list[int], relation_from: int) -> dict[str, Pairs]:
    """The states that each loss term compares; ``layers`` holds for each student layer the teacher's."""
    last, numbered = len(layers) - 1, list(enumerate(layers))
    return {
        "soft": [("logits", "logits")],
        "hard": [],
        "embedding": [("embeddings", "embeddings")],
        "hidden": [(f"hidden.{own}", f"hidden.{its}") for own, its in numbered],
        "attention": [(f"{kind}.{own}", f"{kind}.{its}") for own, its in numbered for kind in ("query", "key")],
        "relation": [(f"{kind}.{last}", f"{kind}.{relation_from}") for kind in ("query", "key", "value")],
        "custom": [],  # see CustomLoss.wanted
    }


def _size_map(student_size: int, teacher_size: int, seed: int) -> nn.Module:
    """From the student's hidden size to the teacher's: the identity, or a linear map that is trained.

    One map serves all layers, as in TinyBERT (Jiao et al. 2020). It starts orthogonal, which keeps lengths and angles.
    """
    if student_size == teacher_size:
        return nn.Identity()
    linear: nn.Module = nn.utils.skip_init(nn.Linear, student_size, teacher_size, bias=False)
    nn.init.orthogonal_(linear.get_parameter("weight"), generator=torch.Generator().manual_seed(seed))
    return linear


def _labelled_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The data's labels: the sum over the texts that have one, divided by all texts of the batch.

    So a text weighs the same whether many or few of the others have no label.
    """
    labelled = batch["labelled"]
    if not labelled.any():
        return logits.sum() * 0  # still a function of the student, for backward
    return hard_labels(logits[labelled], batch["targets"][labelled]) * labelled.float().mean()


def _mean(losses: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(losses)).mean()
