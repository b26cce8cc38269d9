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
from compress.modeling.states import LOGITS, Batch, States, state_modules
from compress.modeling.widths import Widths
from compress.training.optimization import TEACHER_PREFIX, Losses, hard_labels

Pairs = list[tuple[str, str]]
"""Names of states: a student's, and the teacher's that it is compared with."""


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
    """Weight of each loss term; terms of weight 0 are left out and not computed."""

    pairs: dict[str, Pairs]
    """The states that each loss term compares."""

    wanted: frozenset[str]
    """The states of the student that are read beside the logits."""

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
        compared = [pair for pairs in self.pairs.values() for pair in pairs]
        self.wanted = frozenset(student_state for student_state, _ in compared) - {LOGITS}
        self.teacher_wanted = frozenset(teacher_state for _, teacher_state in compared)
        if "custom" in self.weights and config.loss is not None:
            self.custom = CustomLoss(config.loss, f"{config.command}.loss")
            self.wanted |= self.custom.wanted - {LOGITS}
            self.teacher_wanted |= self.custom.teacher_wanted
        state_modules(student, self.wanted, "student")
        state_modules(teacher, self.teacher_wanted, "teacher")

    def forward(self, states: States, batch: Batch) -> Losses:
        """``loss``, and its terms before weighting, detached from the graph: soft, hard, embedding, and so on.

        The states may have any precision; the losses are float32.
        """
        student = {name: states[name].float() for name in {LOGITS, *self.wanted}}
        teacher = {name: batch[TEACHER_PREFIX + name].float() for name in self.teacher_wanted}
        mask = batch["attention_mask"].bool()
        terms: Losses = {}
        if "soft" in self.weights:
            terms["soft"] = self._soft_loss(student[LOGITS], teacher[LOGITS], batch.get(TEACHER_PREFIX + ANSWERED))
        if "hard" in self.weights:
            terms["hard"] = _labelled_loss(student[LOGITS], batch)
        for name, to_teacher_size in self.maps.items():  # embedding and hidden
            terms[name] = _mean(
                token_mse(to_teacher_size(student[student_state]), teacher[teacher_state], mask)
                for student_state, teacher_state in self.pairs[name]
            )
        if "attention" in self.weights:
            terms["attention"] = self._attention_loss(student, teacher, mask)
        if "relation" in self.weights:
            terms["relation"] = _mean(
                relation(student[student_state], teacher[teacher_state], mask)
                for student_state, teacher_state in self.pairs["relation"]
            )
        if "custom" in self.weights:
            terms["custom"] = self.custom(student, teacher, batch)
        total = torch.stack([self.weights[name] * loss for name, loss in terms.items()]).sum()
        return {"loss": total, **{name: loss.detach() for name, loss in terms.items()}}

    def _soft_loss(self, student: torch.Tensor, teacher: torch.Tensor, answered: torch.Tensor | None) -> torch.Tensor:
        """The soft labels' loss: the sum over the ``answered`` texts (None: all), divided by all texts of the batch."""
        if answered is None:
            return soft_labels(student, teacher, self._temperature, multi_label=self._multi_label)
        if not answered.any():
            return student.sum() * 0  # still a function of the student, for backward
        both = student[answered], teacher[answered]
        return soft_labels(*both, self._temperature, multi_label=self._multi_label) * answered.float().mean()

    def _attention_loss(self, student: States, teacher: States, mask: torch.Tensor) -> torch.Tensor:
        """The attention loss, averaged over the student's layers."""

        def scores(states: States, layer: int, heads: Sequence[int]) -> torch.Tensor:
            return dot_products(states[f"query.{layer}"], states[f"key.{layer}"], heads[layer])

        return _mean(
            attention(scores(student, layer, self._heads), scores(teacher, imitated, self._teacher_heads), mask)
            for layer, imitated in enumerate(self._layers)
        )


class CustomLoss(nn.Module):
    """A loss of the user's own, called with the student's states, the teacher's and the batch.

    The loss reads the logits, and the states that its attributes ``wanted`` and ``teacher_wanted`` name, if it has
    them. It may be a module with weights to learn. ``setting`` names it in errors.
    """

    def __init__(self, loss: Callable[..., Any], setting: str) -> None:
        super().__init__()
        self.wanted = frozenset({LOGITS, *getattr(loss, "wanted", ())})
        self.teacher_wanted = frozenset({LOGITS, *getattr(loss, "teacher_wanted", ())})
        self._loss = loss
        self._setting = setting

    def forward(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        """The scalar that the user's loss returns."""
        student_states = {name: student[name] for name in self.wanted}
        teacher_states = {name: teacher[name] for name in self.teacher_wanted}
        value = self._loss(student_states, teacher_states, batch)
        if not isinstance(value, torch.Tensor):
            raise CompressError(f"{self._setting} must give a scalar tensor, got {type(value).__name__}")
        if value.ndim or not value.is_floating_point():
            raise CompressError(
                f"{self._setting} must give a scalar tensor of floats, got {value.dtype} of shape "
                f"{list(value.shape)}; a mean over texts makes one"
            )
        return value


def _layer_map(config: DistillationConfig, student_layers: int, teacher_layers: int) -> list[int]:
    """The teacher layer that each student layer imitates: by default evenly spaced ones, the last layer the last.

    Raises:
        CompressError: the setting names another number of layers than the student has, or one the teacher lacks.
    """
    layer_map = config.layer_map
    if layer_map is None:  # the lowest layers of a student deeper than its teacher would imitate layer -1
        return [max(0, (layer + 1) * teacher_layers // student_layers - 1) for layer in range(student_layers)]
    if len(layer_map) != student_layers or max(layer_map) >= teacher_layers:
        raise CompressError(
            f"{config.command}.layer_map must name {student_layers} teacher layers, one for each student layer, "
            f"from 0 to {teacher_layers - 1}, got {','.join(map(str, layer_map))}"
        )
    return layer_map


def _relation_layer(config: DistillationConfig, teacher_layers: int) -> int:
    """The teacher layer whose relations the student's last layer learns; the teacher must have it."""
    layer = teacher_layers - 1 if config.relation_layer is None else config.relation_layer
    if layer >= teacher_layers:
        raise CompressError(
            f"{config.command}.relation_layer must be a teacher layer from 0 to {teacher_layers - 1}, got {layer}"
        )
    return layer


def _pairs(layers: list[int], relation_from: int) -> dict[str, Pairs]:
    """The states that each loss term compares; ``layers`` holds for each student layer the one that it imitates."""
    last, numbered = len(layers) - 1, list(enumerate(layers))
    return {
        "soft": [(LOGITS, LOGITS)],
        "hard": [],
        "embedding": [("embeddings", "embeddings")],
        "hidden": [(f"hidden.{layer}", f"hidden.{imitated}") for layer, imitated in numbered],
        "attention": [
            (f"{kind}.{layer}", f"{kind}.{imitated}") for layer, imitated in numbered for kind in ("query", "key")
        ],
        "relation": [(f"{kind}.{last}", f"{kind}.{relation_from}") for kind in ("query", "key", "value")],
        "custom": [],  # see CustomLoss.wanted
    }


def _size_map(student_size: int, teacher_size: int, seed: int) -> nn.Module:
    """The map from the student's hidden size to the teacher's: the identity, or a linear map that is trained.

    It serves all layers, as in TinyBERT (Jiao et al. 2020), and starts orthogonal, which keeps lengths and angles.
    """
    if student_size == teacher_size:
        return nn.Identity()
    linear: nn.Module = nn.utils.skip_init(nn.Linear, student_size, teacher_size, bias=False)
    nn.init.orthogonal_(linear.get_parameter("weight"), generator=torch.Generator().manual_seed(seed))
    return linear


def _labelled_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The hard labels' loss: the sum over the texts that have a label, divided by all texts of the batch.

    So a text weighs the same whether many or few of the others have a label.
    """
    labelled = batch["labelled"]
    if not labelled.any():
        return logits.sum() * 0  # still a function of the student, for backward
    return hard_labels(logits[labelled], batch["targets"][labelled]) * labelled.float().mean()


def _mean(losses: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(losses)).mean()
