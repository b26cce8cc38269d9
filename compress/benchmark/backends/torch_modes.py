"""PyTorch as its users run it besides fp32 eager: in other precisions, compiled, and in CUDA graphs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from compress.benchmark.backends.static_shapes import StaticShapes, capture_cuda
from compress.families import family_of
from compress.families.view import EncoderView
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.runtime.encoding import Feeds, TextEncoder
from compress.runtime.predictor import BATCH_TOKENS, Logits

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_GPU_BATCH_TOKENS = 16 * BATCH_TOKENS  # what a CPU's caches hold leaves a GPU idle

Forward = Callable[[dict[str, torch.Tensor]], torch.Tensor]


class TorchBackend:
    """A checkpoint in one precision and one mode.

    Args:
        checkpoint: the classifier.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``; the last two hold the weights in it too.
        mode: ``eager``, ``compiled`` (torch.compile) or ``graphs`` (CUDA graphs of static shapes).
    """

    provider: str | None = None

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str, mode: str) -> None:
        self.task, self.labels = checkpoint.task, checkpoint.labels
        self.encoder: TextEncoder = checkpoint.encoder
        self.parameters = checkpoint.parameters
        self.size_bytes = 4 * checkpoint.parameters
        self.precision = precision
        self.backend = "torch" if mode == "eager" else f"torch-{mode}"
        self.batch_tokens = _GPU_BATCH_TOKENS if device == "cuda" else BATCH_TOKENS
        # One switch for the process, which has but this model. Where the hardware has no TF32 it changes nothing.
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self.model: torch.nn.Module = checkpoint.model.eval().requires_grad_(False)
        self.model.to(device=torch.device(device), dtype=_DTYPES.get(precision))
        self._device = device
        self._inputs = family_of(checkpoint.model.config).inputs
        self._forward = self._in_mode(mode)

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``; copying to and from the GPU is part of it."""
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(feeds[name]).to(self._device) for name in self._inputs}
            logits: Logits = self._forward(tensors).float().cpu().numpy()
        return logits

    def _in_mode(self, mode: str) -> Forward:
        model: Any = self.model

        def eager(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = model(**tensors).logits
            return logits

        if mode == "compiled":
            # One graph for all lengths: real texts would otherwise have it compile again and again.
            compiled: Forward = torch.compile(eager, dynamic=True)
            return compiled
        if mode == "graphs":
            return StaticShapes(eager, EncoderView(model).longest, capture_cuda)
        return eager


def open_torch(folder: Path, threads: int, device: str, options: Sequence[str]) -> TorchBackend:
    """The checkpoint in ``folder``, with ``options`` such as ``bf16`` and ``compiled``, or none for fp32 eager."""
    torch.set_num_threads(threads)
    precision = next((option for option in options if option in ("tf32", *_DTYPES)), "fp32")
    mode = next((option for option in options if option in ("compiled", "graphs")), "eager")
    predictor = TorchBackend(load_classifier(str(folder)), torch_device(device), precision, mode)
    predictor.size_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) or predictor.size_bytes
    return predictor
