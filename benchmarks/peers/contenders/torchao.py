"""torchao's dynamic int8 of all linear layers, compiled with inductor, as its guide advises."""

import os
from pathlib import Path
from typing import Any

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:
    """The quantized weights, and beside them what inductor compiles: a service would ship it warm too."""
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model: Any = shared.teacher_model(teacher, "sdpa")
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    torch.save(model, out / "model.pt")
    shared.keep_tokenizer(teacher, out)
    answer = load(out, torch.get_num_threads())
    for text in shared.examples(data, "validation")[0][:3]:
        answer(text)


def load(folder: Path, threads: int) -> shared.Answer:
    """Compiled for any length; what was compiled before is read back."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    import torch

    torch.set_num_threads(threads)
    model = torch.load(folder / "model.pt", weights_only=False)
    return shared.torch_answers(torch.compile(model, dynamic=True), folder, threads)
