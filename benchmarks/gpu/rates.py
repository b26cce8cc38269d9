"""The part that measures what the card itself can do: large products in each precision, and copies."""

from dataclasses import asdict
from typing import Any

import torch

from benchmarks.gpu.arithmetic import describe_models, known_rates
from benchmarks.gpu.serving import Emit, reason_of
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.timing import median_ms
from benchmarks.gpu.ways import load_model
from compress.benchmark.backends.torch_modes import DTYPES


def rates(setting: Setting, emit: Emit, _: float) -> None:
    """The card, what its data sheet says, what it reaches, and what the models ask of it."""
    emit({"card": card(setting), "known": asdict(known_rates(card(setting)["name"]))})
    rows = setting.matrix
    for precision in setting.precisions:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        try:
            left, right = (
                torch.randn(rows, rows, device=setting.device, dtype=DTYPES.get(precision)) for _ in range(2)
            )
            ms = median_ms([lambda left=left, right=right: left @ right], setting.device, setting.figure_s)  # type: ignore[misc]
            emit({"measured": precision, "tflops": 2 * rows**3 / ms / 1e9})
        except Exception as error:  # noqa: BLE001 - a card without this precision
            emit({"measured": precision, "reason": reason_of(error)})
    source = torch.empty(rows * rows * 4, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    ms = median_ms([lambda: target.copy_(source)], setting.device, setting.figure_s)
    emit({"measured": "memory", "tb_per_s": 2 * source.numel() / ms / 1e9})
    emit({"models": describe_models({name: load_model(setting.folder / name) for name in setting.shapes})})


def card(setting: Setting) -> dict[str, Any]:
    """The GPU that is measured."""
    if not setting.on_gpu:
        return {"name": None}
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "memory": found.total_memory,
        "multiprocessors": found.multi_processor_count,
        "capability": [found.major, found.minor],
        "cuda": torch.version.cuda,
    }
