"""The ways to run a model that are compared, each opened on a checkpoint and asked with a batch."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.gpu.attentions import ATTENTIONS
from compress.benchmark.backends.torch_modes import DTYPES, StaticShapes, capture_cuda
from compress.benchmark.backends.varlen import PackedBert, pack
from compress.benchmark.backends.varlen_backend import StaticTokens
from compress.graph.weights import read_weights
from compress.modeling.checkpoint import load_classifier
from compress.runtime.encoding import Feeds

Call = Callable[[], Any]


class Way(Protocol):
    """A precision and a mode."""

    @property
    def name(self) -> str:
        """As the results name it."""
        ...

    def opened(self, model: Any, device: str) -> Callable[[Feeds], tuple[Call, Call]]:
        """``model`` ready to be timed: for a batch, the call on the device alone and the call from ids to logits."""
        ...


@dataclass(frozen=True)
class Padded:
    """The model as transformers runs it: ``eager``, ``compiled`` (torch.compile) or ``graphs`` (CUDA graphs)."""

    precision: str
    mode: str = "eager"

    @property
    def name(self) -> str:
        """As the results name it."""
        return f"{self.mode} {self.precision}"

    def opened(self, model: Any, device: str) -> Callable[[Feeds], tuple[Call, Call]]:
        """See :class:`Way`."""
        moved = deepcopy(model).to(device=device, dtype=DTYPES.get(self.precision))

        def eager(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = moved(**tensors).logits
            return logits

        forward: Any = eager
        if self.mode == "compiled":
            # A CPU's compiler takes a minute for what is done in milliseconds; there, tracing alone is tried.
            forward = torch.compile(eager, dynamic=True, backend="inductor" if device == "cuda" else "eager")
        elif self.mode == "graphs":
            forward = StaticShapes(eager, model.config.max_position_embeddings, capture_cuda)

        def calls(feeds: Feeds) -> tuple[Call, Call]:
            # One switch for the process: ways take turns, and each is asked for its calls right before they are made.
            torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
            resident = _on_device(feeds, device)
            return lambda: forward(resident), lambda: forward(_on_device(feeds, device)).float().cpu().numpy()

        return calls


@dataclass(frozen=True)
class Unpadded:
    """The model without padding.

    Attributes:
        precision: of weights and products.
        attention: a name in ``benchmarks.gpu.attentions.ATTENTIONS``.
        first_token_only: whether the last layer computes no more than the classifier reads.
        mode: ``eager``, ``compiled`` (torch.compile fuses what is between the products) or ``graphs`` (CUDA graphs).
    """

    precision: str
    attention: str
    first_token_only: bool = True
    mode: str = "eager"

    @property
    def name(self) -> str:
        """As the results name it."""
        marks = ("" if self.first_token_only else ", all tokens") + ("" if self.mode == "eager" else f", {self.mode}")
        return f"unpadded {self.attention} {self.precision}{marks}"

    def opened(self, model: Any, device: str) -> Callable[[Feeds], tuple[Call, Call]]:
        """See :class:`Way`."""
        attention = ATTENTIONS[self.attention]
        packed_model = PackedBert(read_weights(model), attention, first_token_only=self.first_token_only)
        moved = packed_model.to(device=torch.device(device), dtype=DTYPES[self.precision])
        forward: Any = moved
        if self.mode == "compiled":
            forward = torch.compile(moved, dynamic=True)
        elif self.mode == "graphs":
            forward = StaticTokens(moved, model.config.max_position_embeddings, capture_cuda)

        def calls(feeds: Feeds) -> tuple[Call, Call]:
            resident = pack(feeds, device)
            return lambda: forward(resident), lambda: forward(pack(feeds, device)).float().cpu().numpy()

        return calls


def load_model(folder: Path) -> Any:
    """The network in ``folder``, in fp32 on the CPU."""
    return load_classifier(str(folder)).model.eval().requires_grad_(False)


def _on_device(feeds: Feeds, device: str) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array).to(device) for name, array in feeds.items()}
