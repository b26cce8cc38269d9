"""A checkpoint without padding as a row of bench."""

from collections.abc import Callable
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


def open_varlen(
    folder: str | Path, device: str, precision: str, *, graphs: bool = False, threads: int | None = None
) -> VarlenBackend:
    """The checkpoint in ``folder`` without padding, on some CPU threads (default: PyTorch's own).

    Args:
        folder: of the checkpoint.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``; the first only on a CPU.
        graphs: whether CUDA graphs replay it, one for each size of batch.
        threads: of the CPU.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return VarlenBackend(load_classifier(str(folder)), torch_device(device), precision, graphs=graphs)
