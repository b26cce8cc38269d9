"""PyTorch's dynamic int8 of all linear layers (``torch.ao.quantization.quantize_dynamic``)."""

from pathlib import Path
from typing import Any

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """The whole module, as its guide saves it."""
    import torch

    model: Any = shared.teacher_model(teacher, "sdpa")
    quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    torch.save(quantized, out / "model.pt")
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """The pickled module."""
    import torch

    return shared.torch_answers(torch.load(folder / "model.pt", weights_only=False), folder, threads)
