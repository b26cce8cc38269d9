"""The teacher's forward pass, and a teacher that reads each batch beside the student."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from compress.config import DistillationConfig
from compress.distillation.teacher_cache.shard import LOGITS
from compress.families.view import EncoderView
from compress.machine import choose_precision, torch_device
from compress.modeling.states import Batch, States, recording, state_modules
from compress.runtime.encoding import pad
from compress.training.encodings import Encodings


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
        """With the device and precision that ``config`` names."""
        kind = torch_device(config.device)
        # With its number: "cuda" alone changes its meaning when accelerate gives this process one of several GPUs.
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
    """The width of each state: labels for the logits, else values of a token.

    Raises:
        CompressError: the model has no such state.
    """
    modules = state_modules(model, sorted(states), "teacher")
    return {name: getattr(module, "out_features", EncoderView(model).hidden_size) for name, module in modules.items()}


@dataclass(frozen=True)
class LiveOutputs:
    """A teacher that reads each batch beside the student; its states have the precision in which it computes.

    Attributes:
        forward: runs the teacher.
        states: names of the states.
        order: for each label of the student the column of the teacher's logits.
        encodings: the texts, as the teacher's tokenizer reads them.
    """

    forward: TeacherForward
    states: frozenset[str]
    order: list[int]
    encodings: Encodings

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        """See :class:`compress.training.batches.TeacherOutputs`."""
        device = batch["input_ids"].device
        feeds = {name: torch.from_numpy(ids) for name, ids in pad([self.encodings[row] for row in rows]).items()}
        states = {name: state.to(device) for name, state in self.forward(feeds, self.states).items()}
        return states | {LOGITS: states[LOGITS][:, self.order]}
