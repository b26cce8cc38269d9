"""Distillation as an objective: the weighted sum of what a student is compared with its teacher by."""

import torch
from torch import nn

from compress.config import DistillationConfig
from compress.distillation.layer_map import layer_map, relation_layer
from compress.distillation.loss_terms import Attention, Custom, Hard, LossTerm, Relation, Soft, Tokens
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.modeling.states import Batch, States, state_modules
from compress.training.objective import TEACHER


class Distillation(nn.Module):
    """What a student learns from its teacher and the data; :class:`compress.training.objective.Objective`.

    Its parameters, where it has any, are maps between widths, to be trained with the student and then dropped.

    Attributes:
        wanted: states beside the logits that the student must show.
        teacher_wanted: states of the teacher that a batch must hold, each under ``teacher.`` and its name; ``logits``
            is one of them only where they are read.

    Args:
        student: the model that learns; only its shape is read.
        teacher: the model that it imitates; only its shape is read.
        config: the weights of the parts, and what they compare; parts of weight 0 are neither computed nor wanted.
        multi_label: whether labels are independent of each other.

    Raises:
        CompressError: no part has a weight, or one needs a layer or a state that a model has not.
    """

    wanted: frozenset[str]
    teacher_wanted: frozenset[str]

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        config: DistillationConfig,
        *,
        multi_label: bool,
    ) -> None:
        super().__init__()
        self._weights = _weights(config)
        parts = _parts(EncoderView(student), EncoderView(teacher), config, multi_label=multi_label)
        self.parts = nn.ModuleDict({name: parts[name] for name in self._weights})
        wanted = frozenset[str]().union(*(parts[name].wanted for name in self._weights))
        self.wanted = wanted - {"logits"}
        self.teacher_wanted = frozenset[str]().union(*(parts[name].teacher_wanted for name in self._weights))
        state_modules(student, self.wanted, "student")
        state_modules(teacher, self.teacher_wanted, "teacher")

    def forward(self, states: States, batch: Batch) -> dict[str, torch.Tensor]:
        """``loss``, and its parts before weighting, cut off from the graph: soft, hard, embedding, and so on.

        States may be of any precision; the losses are float32.
        """
        student = {name: states[name].float() for name in {"logits", *self.wanted}}
        teacher = {name: batch[TEACHER + name].float() for name in self.teacher_wanted}
        losses = {name: part(student, teacher, batch) for name, part in self.parts.items()}
        total = torch.stack([self._weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total, **{name: loss.detach() for name, loss in losses.items()}}


def _weights(config: DistillationConfig) -> dict[str, float]:
    """The weights above 0, by part."""
    names = ("soft", "hard", "embedding", "hidden", "attention", "relation")
    weights = {name: getattr(config, f"{name}_weight") for name in names}
    weights["custom"] = config.loss_weight if config.loss is not None else 0.0
    if not any(weights.values()):
        raise CompressError(
            f"{config.command} has nothing to learn from, its weights are all 0; set at least one above 0 of "
            + ", ".join(f"{name}_weight" for name in names)
        )
    return {name: weight for name, weight in weights.items() if weight > 0}


def _parts(
    student: EncoderView, teacher: EncoderView, config: DistillationConfig, *, multi_label: bool
) -> dict[str, LossTerm]:
    """Every part that the settings describe, whatever its weight.

    Args:
        student: its widths are read.
        teacher: its widths are read.
        config: of the step.
        multi_label: whether labels are independent of each other.
    """
    layers = layer_map(config, len(student.layers), len(teacher.layers))
    hidden = [(f"hidden.{own}", f"hidden.{its}") for own, its in enumerate(layers)]
    widths = (student.hidden_size, teacher.hidden_size)
    parts: dict[str, LossTerm] = {
        "soft": Soft(config.temperature, multi_label=multi_label),
        "hard": Hard(),
        "embedding": Tokens([("embeddings", "embeddings")], *widths, config.seed),
        "hidden": Tokens(hidden, *widths, config.seed),
        "attention": Attention(layers, *([layer.heads for layer in view.layers] for view in (student, teacher))),
        "relation": Relation(len(student.layers) - 1, relation_layer(config, len(teacher.layers))),
    }
    if config.loss is not None:
        parts["custom"] = Custom(config.loss, f"{config.command}.loss")
    return parts
