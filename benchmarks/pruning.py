"""What pruning to a latency keeps, against uniform magnitude pruning and against fewer layers at that latency.

    python -m benchmarks.pruning make    [--methods ours,uniform,layers] [--speedups 1.5,2,3,5] [--seeds 0,1,2]
    python -m benchmarks.pruning measure
                                 both: [--sets SET...] [--data ../shared/data] [--out runs/pruning]
                                       [--teachers runs/distillation] [--threads N]

For each data set and speed-up over the 6-layer teacher, in int8 at batch 1 on texts as they come: the search's model,
one whose layers all keep the same shares of heads and neurons by magnitude, and one of as many of the teacher's own
layers as are that fast. All three learn from the teacher with the same settings, and are quantized.
``make`` leaves out what is there already, so parts may be made one by one, in any order, side by side. ``measure``
wants the machine for itself: every model answers the test texts, and is timed in turns with the teacher. It writes
``benchmarks/results/pruning/CPU/SET.json``, a row for each model there is: each CPU has teachers and plans of its own.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

import compress
from benchmarks.distillation import METRICS, TEACHERS, TO_THE_END, row
from benchmarks.kept import RESULTS, about, add_choice, markdown, need_folders, now, read, spread, write
from compress.config import DataConfig, PruneConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.latency.deployment import Deployment, deployment_of
from compress.latency.table import LatencyTable, latency_table
from compress.machine import int8_flags, usable_cpus
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.widths import Architecture, Widths
from compress.pruning.importance import Importance
from compress.pruning.planning import measured
from compress.pruning.ranking import magnitude_importance
from compress.training.batches import Examples

KEPT = RESULTS / "pruning"
SETS = ("sst2", "banking77")
METHODS = ("ours", "uniform", "layers")
SPEEDUPS = (1.5, 2.0, 3.0, 5.0)
SEEDS = (0, 1, 2)

Settings = dict[str, Any]
# Those of benchmarks.distillation with fewer epochs: there are 36 models a data set.
RECOVERY: dict[str, Settings] = {
    "sst2": {"epochs": 1, "batch_size": 128, "learning_rate": 2e-4, "hidden_weight": 1.0, "cache_gb": 8.0},
    "banking77": {"epochs": 5, "batch_size": 64, "learning_rate": 3e-4, "hidden_weight": 1.0, **TO_THE_END},
}


def uniform_magnitude(checkpoint: Checkpoint, _: Examples) -> Importance:
    """Each unit's rank by magnitude within its own layer, so that every layer gives the same share."""
    found = magnitude_importance(checkpoint)

    def ranks(scores: torch.Tensor) -> torch.Tensor:
        return (scores.argsort().argsort().double() + 1) / max(1, len(scores))

    return Importance([ranks(scores) for scores in found.heads], [ranks(scores) for scores in found.neurons])


def uniform_shares(whole: Widths, table: LatencyTable, target_ms: float) -> Settings:
    """The smallest shares of heads and of neurons, alike in all layers, that are as fast as that."""
    layers, heads, neurons = len(whole.heads), max(whole.heads), max(whole.neurons)
    for share in np.linspace(0.0, 0.99, 400):
        widths = max(1, round(heads * (1 - share))), max(32, 32 * round(neurons * (1 - share) / 32))
        if table.latency_ms(Widths.even(layers, *widths)) <= target_ms:
            return {"heads": 1 - widths[0] / heads, "ffn": 1 - widths[1] / neurons}
    return {"heads": 1 - 1 / heads, "ffn": 1 - 32 / neurons}


def deepest(whole: Widths, table: LatencyTable, target_ms: float) -> int:
    """How many whole layers are as fast as that, at least one."""
    depths = range(len(whole.heads), 1, -1)
    times_ms = {depth: table.latency_ms(Widths(whole.heads[:depth], whole.neurons[:depth])) for depth in depths}
    return next((depth for depth in depths if times_ms[depth] <= target_ms), 1)


def make(method: str, speedup: float, seed: int, name: str, teacher: Path, data: Path, out: Path, threads: int) -> Path:
    """One model and its int8 form, unless they are there; returns the folder that holds both."""
    folder = out / f"{method}-{speedup:g}x-{seed}"
    settings: Settings = RECOVERY[name] | {"metric": METRICS[name], "threads": threads, "seed": seed}
    if not (folder / "torch").exists():
        whole, table, _ = speeds(teacher, data, threads)
        target_ms = table.latency_ms(whole) / speedup
        if method == "layers":
            compress.distill(teacher, data, folder / "torch", layers=deepest(whole, table, target_ms), **settings)
        elif method == "uniform":
            shares = uniform_shares(whole, table, target_ms)
            ranked = {"importance": "benchmarks.pruning.uniform_magnitude"}
            compress.prune(teacher, data, folder / "torch", **(settings | shares | ranked))
        else:
            compress.prune(teacher, data, folder / "torch", speedup=speedup, **settings)
    if not (folder / "int8").exists():
        compress.quantize(folder / "torch", data, folder / "int8", max_drop=5.0, threads=threads)
    return folder


def speeds(teacher: Path, data: Path, threads: int) -> tuple[Widths, LatencyTable, Deployment]:
    """The teacher's widths, and what parts of it cost in int8."""
    dataset = read_dataset(DataConfig(data=str(data)))
    checkpoint = load_classifier(str(teacher), pairs=dataset.pairs)
    deployment = deployment_of(checkpoint, dataset, PruneConfig(speedup=2.0), threads)
    whole = Widths.of(checkpoint.model)
    return whole, latency_table(Architecture.of(checkpoint.model), whole, deployment), deployment


def result(folder: Path, teacher: Path, dataset: Dataset, name: str, deployment: Deployment) -> dict[str, Any]:
    """One model's test metric in int8, its widths, and its measured speed-up over the teacher's int8 form."""
    method, speedup, seed = folder.name.rsplit("-", 2)
    model, whole = load_classifier(str(folder / "torch")), load_classifier(str(teacher))
    told = row(method, int(seed), folder / "int8", dataset, METRICS[name])
    wanted = {"wanted_speedup": float(speedup.removesuffix("x")), "parameters": model.parameters}
    return told | wanted | {"widths": vars(Widths.of(model.model))} | measured(model, whole, deployment)


def make_all(name: str, data: Path, given: argparse.Namespace) -> None:
    """What is asked for and not there yet, fast models first: they are made soonest."""
    teacher, out = given.teachers / name / "teacher", given.out / name
    if not teacher.exists():
        compress.finetune("demo:minilm", data, teacher, metric=METRICS[name], threads=given.threads, **TEACHERS[name])
    if not (out / "teacher-1x-0" / "int8").exists():
        compress.quantize(teacher, data, out / "teacher-1x-0" / "int8", threads=given.threads)
    for seed in given.seeds:
        for speedup in sorted(given.speedups, reverse=True):
            for method in given.methods:
                make(method, speedup, seed, name, teacher, data, out, given.threads)


def measure(name: str, data: Path, given: argparse.Namespace) -> None:
    """Write a row for each model that is there."""
    dataset, its = read_dataset(DataConfig(data=str(data))), about([given.threads])
    machine = its["machine"]
    teacher, out = given.teachers / name / "teacher", given.out / name
    _, _, deployment = speeds(teacher, data, given.threads)
    rows = [row("teacher", 0, out / "teacher-1x-0" / "int8", dataset, METRICS[name])]
    rows += [
        kept_result(folder, machine, partial(result, folder, teacher, dataset, name, deployment))
        for folder in sorted(out.glob("*x-*"))
        if not folder.name.startswith("teacher") and (folder / "int8").exists()
    ]
    for each in rows:
        each.pop("config")
    told = {"metric": METRICS[name], "threads": given.threads, "recovery": RECOVERY[name]}
    place = KEPT / re.sub(r"\W+", "-", _cpu(machine)).strip("-").lower() / f"{name}.json"
    write(place, its | told | {"models": rows})


def kept_result(folder: Path, machine: dict[str, Any], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``find`` finds of the model in ``folder``, with the time and versions; looked for once on a CPU."""
    path, cpu = folder / "result.json", _cpu(machine)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if found.get("cpu") != cpu:  # those that were kept earlier do not say
        found = {"cpu": cpu, "created": now(), "versions": machine["versions"]} | find()
        path.write_text(json.dumps(found), encoding="utf-8")
    return found


def _cpu(machine: dict[str, Any]) -> str:
    """Its name, and what it multiplies 8-bit integers with."""
    return f"{machine['cpu']} ({', '.join(int8_flags(machine['cpu_flags'])) or 'no VNNI'})"


def table(results: dict[Path, dict[str, Any]]) -> str:
    """Test metric in points over seeds, measured speed-up, and by how much the search's models are ahead of the others.

    What the others have at the speed of the search's models is read off between their own points, the teacher's among
    them; beyond their fastest they are given what that has.

    Args:
        results: by the file that holds them, ``CPU/SET.json``.
    """
    ahead = [f"ahead of {method}" for method in METHODS[1:]]
    columns = ("CPU", "data", "teacher", "asked", *METHODS, *ahead)
    lines: list[Sequence[str]] = [columns]
    leads: dict[float, list[list[float | None]]] = {speedup: [] for speedup in SPEEDUPS}
    for path, found in results.items():
        curves = {method: _curve(found["models"], method) for method in METHODS}
        teacher = _points(found["models"], "teacher", None)[0][0]
        for speedup in SPEEDUPS:
            cells = [_cell(*_points(found["models"], method, speedup), teacher) for method in METHODS]
            lead = [_lead(curves["ours"], curves[method], speedup, teacher) for method in METHODS[1:]]
            leads[speedup].append(lead)
            if any(cells):
                named = (_cpu(found["machine"]), path.stem, f"{teacher:.1f}", f"{speedup:g}x")
                lines.append([*named, *cells, *map(_told, lead)])
    for speedup, each in leads.items():
        known = [[lead for lead in column if lead is not None] for column in zip(*each, strict=True)]
        if any(len(column) > 1 for column in known):
            means = (float(np.mean(column)) if len(column) > 1 else None for column in known)
            lines.append(["mean", "", "", f"{speedup:g}x", *[""] * len(METHODS), *map(_told, means)])
    return markdown(lines, words=2)


def _told(lead: float | None) -> str:
    return "" if lead is None else f"{lead:+.1f}"


def _points(rows: list[dict[str, Any]], model: str, wanted: float | None) -> tuple[list[float], list[float]]:
    """Test metric in points, and measured speed-up, of each seed."""
    chosen = [one for one in rows if one["model"] == model and one.get("wanted_speedup") == wanted]
    return [100 * one["test"] for one in chosen], [one.get("speedup", 1.0) for one in chosen]


def _cell(points: list[float], faster: list[float], teacher: float) -> str:
    return f"{spread(points)} ({fmean(points) - teacher:+.1f}) at {fmean(faster):.2f}x" if points else ""


def _curve(rows: list[dict[str, Any]], method: str) -> dict[float, tuple[float, float]]:
    """Measured speed-up and test metric in points by the speed-up that was asked for, means over seeds."""
    found = {speedup: _points(rows, method, speedup) for speedup in SPEEDUPS}
    return {
        speedup: (float(np.mean(faster)), float(np.mean(points)))
        for speedup, (points, faster) in found.items()
        if points
    }


def _lead(
    ours: dict[float, tuple[float, float]], other: dict[float, tuple[float, float]], speedup: float, teacher: float
) -> float | None:
    """How many points ours is above the other's curve, which is straight in the logarithm of the speed-up."""
    if speedup not in ours or speedup not in other:
        return None
    faster, points = ours[speedup]
    known = sorted([(1.0, teacher), *other.values()])
    return points - float(np.interp(np.log(faster), [np.log(one) for one, _ in known], [each for _, each in known]))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("action", choices=("make", "measure"))
    add_choice(parser, "--sets", SETS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--teachers", type=Path, default=Path("runs/distillation"), help="SET/teacher lie there")
    parser.add_argument("--methods", type=lambda value: value.split(","), default=list(METHODS))
    parser.add_argument("--speedups", type=lambda value: [float(one) for one in value.split(",")], default=SPEEDUPS)
    parser.add_argument("--seeds", type=lambda value: [int(one) for one in value.split(",")], default=SEEDS)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    given = parser.parse_args()
    need_folders(parser, (given.data / name for name in given.sets))
    for name in given.sets:
        {"make": make_all, "measure": measure}[given.action](name, given.data / name, given)
    if given.action == "measure":
        print(table({path: read(path) for path in sorted(KEPT.glob("*/*.json"))}), end="")


if __name__ == "__main__":
    main()
