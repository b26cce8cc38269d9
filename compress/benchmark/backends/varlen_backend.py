"""A checkpoint without padding as a row of bench."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from compress.benchmark.backends.torch_modes import DTYPES, TorchBackend, capture_cuda
from compress.benchmark.backends.varlen import Packed, PackedBert, attention_for, pack
from compress.benchmark.backends.varlen_graphs import StaticTokens
from compress.errors import CompressError
from compress.families import family_of
from compress.families.view import EncoderView
from compress.graph.weights import read_weights
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.runtime.encoding import Feeds


class VarlenBackend(TorchBackend):
    """A checkpoint without padding, ``fp32``, ``bf16`` or ``fp16``, on ``cpu`` or ``cuda``, there in graphs too."""

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str, *, graphs: bool = False) -> None:
        self._graphs = graphs
        super().__init__(checkpoint, device, precision, "varlen-graphs" if graphs else "varlen")

    def _in_mode(self) -> Callable[[Feeds], torch.Tensor]:
        """``self.model`` stays where it is: bench counts operations by its shapes, and it does not run."""
        family = family_of(self.model.config)
        if family.builder != "post-norm":
            raise CompressError(
                f"torch-varlen: has no {family.name}; leave this row out, or measure it eager or compiled"
            )
        packed = PackedBert(read_weights(self.model), attention_for(self._device, self.precision))
        packed.to(device=torch.device(self._device), dtype=DTYPES[self.precision])
        forward: Callable[[Packed], torch.Tensor] = packed
        if self._graphs:
            forward = StaticTokens(packed, EncoderView(self.model).longest, capture_cuda)
        return lambda feeds: forward(pack(feeds, self._device))


def open_varlen(folder: Path, threads: int, device: str, options: Sequence[str]) -> VarlenBackend:
    """The checkpoint in ``folder`` without padding, with ``options`` such as ``fp16`` and ``graphs``."""
    torch.set_num_threads(threads)
    precision = next((option for option in options if option in DTYPES), "fp32")
    return VarlenBackend(load_classifier(str(folder)), torch_device(device), precision, graphs="graphs" in options)
