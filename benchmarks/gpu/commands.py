"""Parts that run the package's own commands: bench, prune and distill."""

from pathlib import Path
from typing import Any

import torch

import compress
from benchmarks.gpu.serving import Emit, Load, fixed_load, sst2_loads
from benchmarks.gpu.setting import STUDENT, TEACHER, Setting
from benchmarks.gpu.timing import median_ms
from benchmarks.gpu.ways import Padded, Unpadded, Way, load_model
from compress.benchmark.measure import bench as measure_bench
from compress.clock import Stopwatch
from compress.config import BenchConfig, DataConfig
from compress.data.read import read_test
from compress.latency import table

_BATCH_SIZE = 128
_EPOCHS_AT_MOST = 50


def bench(setting: Setting, emit: Emit, _: float) -> None:
    """The student under ``bench``, and the same calls timed here: by how much the two differ.

    This is what ``compress bench`` does but for its page, whose charts need packages that a bare machine lacks.
    """
    batch, length = setting.batches[len(setting.batches) // 2], setting.lengths[-1]
    own: dict[str, Way]
    if setting.on_gpu:  # a backend's processes import for half a minute on a machine that has just started
        own = {"torch-fp16-graphs": Padded("fp16", "graphs"), "torch-varlen-fp16": Unpadded("fp16", "flash")}
    else:
        own = {"torch": Padded("fp32"), "torch-varlen-bf16": Unpadded("bf16", "grouped")}
    wanted = {"device": setting.device, "backends": list(own), "seconds": setting.bench_s, "threads": [1]}
    config = BenchConfig.parse(wanted | {"batch": sorted({1, batch}), "length": [length]})
    test, task = read_test(DataConfig(data=str(setting.folder / "data")))
    found = measure_bench([setting.folder / STUDENT], test, task, config)
    model = load_model(setting.folder / STUDENT)
    torch.set_num_threads(1)
    real = next(sst2_loads(setting, STUDENT))
    for entry in found["models"]:
        backend = entry["name"].removeprefix(f"{STUDENT} ")
        row = {"backend": backend}
        emit(row | {"throughput": entry["throughput"], "cost": entry["cost"]})
        for latency in entry["latency"]:
            fixed = latency["length"] != "real"
            load = fixed_load(setting, STUDENT, latency["batch"], length) if fixed else real
            own_ms = _own_ms(setting, model, own[backend], load)
            off = latency["p50_ms"] / own_ms - 1
            told = {"load": load.name, "bench_ms": latency["p50_ms"], "own_ms": own_ms}
            emit(row | told | {"difference": off, "agrees": abs(off) <= 0.05})
    for left in (*found["failed"], *found["left_out"], *found["skipped"]):
        emit({"backend": left["name"], "reason": left["reason"]})


def _own_ms(setting: Setting, model: Any, way: Way, load: Load) -> float:
    """From token ids to logits, which is what bench times."""
    calls_of = way.opened(model, setting.device)
    with torch.inference_mode():
        return median_ms([calls_of(feeds)[1] for feeds in load.feeds], setting.device, 3 * setting.figure_s)


def prune(setting: Setting, emit: Emit, _: float, batch: int) -> None:
    """``prune --speedup 2 --dry-run``: its prediction against what it measured, and whether whole layers go."""
    runtime = "cuda" if setting.on_gpu else "fp32"
    model = TEACHER if setting.on_gpu else STUDENT
    if not setting.on_gpu:  # whose figures mean nothing
        table._ROUNDS, table._PROCESSES = 2, 1
    batch = min(batch, max(setting.batches))
    options: dict[str, Any] = {"runtime": runtime, "batch": batch, "samples": setting.prune_rows, "batch_size": 32}
    found = compress.prune(
        setting.folder / model, setting.folder / "data", setting.folder / "planned",
        speedup=2 if setting.on_gpu else 1.05, dry_run=True, device=setting.device, **options,
    )  # fmt: skip
    told = dict(found.metrics)
    widths = told["widths"]
    gone = sum(not any(pair) for pair in zip(widths["heads"], widths["neurons"], strict=True))
    off = told["predicted_ms"] / told["latency_ms"] - 1
    emit({"model": model, "runtime": runtime, "batch": batch, "seconds": found.seconds, **told}
         | {"prediction_off_by": off, "layers_gone": gone, "turns_to_depth": gone > 0})  # fmt: skip


def distill(setting: Setting, emit: Emit, seconds: float) -> None:
    """A student of half the layers in bf16: texts a second, from a short run and a long one whose start is the same."""
    watch = Stopwatch()
    layers = len(setting.shapes[STUDENT].heads)

    def run(epochs: int) -> float:
        out: Path = setting.folder / f"distilled-{epochs}-{watch.seconds:.0f}"
        options: dict[str, Any] = {"precision": "bf16", "batch_size": _BATCH_SIZE, "patience": 1000}
        found = compress.distill(
            setting.folder / TEACHER, setting.folder / "data", out, layers=layers, epochs=epochs,
            device=setting.device, **options,
        )  # fmt: skip
        return found.seconds

    first_s = run(1)  # it asks the teacher too
    short_s = run(1)
    epochs = min(max(int((seconds - watch.seconds) / short_s), 3), _EPOCHS_AT_MOST) if setting.on_gpu else 3
    long_s = run(epochs)
    epoch_s = (long_s - short_s) / (epochs - 1)
    row = {"teacher": TEACHER, "layers": layers, "precision": "bf16", "batch_size": _BATCH_SIZE}
    emit(row | {"texts": setting.texts, "epochs": epochs, "first_s": first_s, "short_s": short_s, "long_s": long_s}
         | {"epoch_s": epoch_s, "texts_per_s": setting.texts / epoch_s if epoch_s > 0 else None})  # fmt: skip
