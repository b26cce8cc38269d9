"""A teacher's forward pass, on the device and in the precision that a run is given."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from compress.config import DistillationConfig
from compress.distillation.teacher_cache.shard import LOGITS
from compress.families.view import EncoderView
from compress.machine import choose_precision, torch_device
from compress.modeling.states import Batch, States, recording, state_modules


@dataclass(frozen=True)
class TeacherForward:
    """Runs a teacher without gradients and without dropout.

    Attributes:
        model: its network, which is moved to ``device`` by :meth:`ready`.
        device: where it computes.
        precision: ``fp32``, or ``bf16`` for autocast.
    """

    model: nn.Module
    device: torch.device
    precision: str

    @classmethod
    def of(cls, model: nn.Module, config: DistillationConfig) -> "TeacherForward":
        """As ``config`` says."""
        kind = torch_device(config.device)
        # By number: "cuda" means another GPU once this process has been given one of several.
        device = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
        return cls(model, device, choose_precision(config.precision, kind))

    def ready(self) -> "TeacherForward":
        """Move the network to its device."""
        nn.Module.to(self.model, self.device).eval()
        return self

    def __call__(self, inputs: Batch, states: Iterable[str]) -> States:
        """The ``states`` of padded texts, on the teacher's device; logits are float32."""
        autocast = torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with torch.no_grad(), autocast, recording(self.model, states) as recorded:
            self.model(**{name: ids.to(self.device) for name, ids in EncoderView(self.model).inputs(inputs).items()})
        return recorded | {LOGITS: recorded[LOGITS].float()}


def widths_of(model: nn.Module, states: Iterable[str]) -> Mapping[str, int]:
    """The columns of each state.

    Raises:
        CompressError: the model has no such state.
    """
    modules = state_modules(model, sorted(states), "teacher")
    return {name: getattr(module, "out_features", EncoderView(model).hidden_size) for name, module in modules.items()}
