"""What a rate, epochs and hidden states give students and pruned models, on validation texts, with several seeds.

    python -m benchmarks.student_choices RUN... [--models MODEL...] [--ways WAY...] [--seeds 3] [--threads 1]
        [--results benchmarks/results/student_choices.jsonl]

A RUN is a folder with a ``teacher`` and its ``data`` in it, such as `compress demo` leaves; its name is the data's.
Models are judged on the validation texts, by the metric and by the divergence from the teacher; test files are not
read. One that has a line in the results is not trained again.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import compress
from benchmarks.distillation import TO_THE_END
from benchmarks.kept import RESULTS, Row, about, add_choice, each_once, markdown, need_folders, read_last, spread
from compress.steps.step import StepResult

MODELS: dict[str, tuple[Callable[..., StepResult], dict[str, Any]]] = {
    "3 layers": (compress.distill, {"layers": 3}),
    "2 layers": (compress.distill, {"layers": 2}),
    "half the heads and neurons": (compress.prune, {"heads": 0.5, "ffn": 0.5}),
}
WAYS: dict[str, dict[str, Any]] = {
    "5e-5, 2 epochs": {"learning_rate": 5e-5, "epochs": 2, "hidden_weight": 0.0},
    "1e-4, 2 epochs": {"learning_rate": 1e-4, "epochs": 2, "hidden_weight": 0.0},
    "2e-4, 2 epochs": {"learning_rate": 2e-4, "epochs": 2, "hidden_weight": 0.0},
    "1e-4, 5 epochs": {"learning_rate": 1e-4, "epochs": 5, "hidden_weight": 0.0},
    "2e-4, 5 epochs": {"learning_rate": 2e-4, "epochs": 5, "hidden_weight": 0.0},
    "2e-4, 5 epochs, hidden": {"learning_rate": 2e-4, "epochs": 5, "hidden_weight": 1.0},
    "2e-4, 10 epochs, hidden": {"learning_rate": 2e-4, "epochs": 10, "hidden_weight": 1.0, **TO_THE_END},
    "2e-4, 20 epochs, hidden": {"learning_rate": 2e-4, "epochs": 20, "hidden_weight": 1.0, **TO_THE_END},
}
_KEYS = ("set", "model", "way", "seed")


def train(asked: Row, run: Path, threads: int) -> Row:
    """One model, and how good it is on the validation texts."""
    step, shape = MODELS[asked["model"]]
    settings = shape | {"seed": asked["seed"], "threads": threads} | WAYS[asked["way"]]
    with tempfile.TemporaryDirectory() as folder:
        done = step(run / "teacher", run / "data", Path(folder, "model"), **settings)
    metrics = done.metrics
    best = next(point for point in metrics["curve"] if point["step"] == metrics["best_step"])
    metric = next(name for name in metrics if name.startswith("validation_"))
    kept = {"metric": metric.removeprefix("validation_"), "validation": metrics[metric]}
    kept |= {"divergence": best["divergence"], "steps": metrics["steps"], "best_step": metrics["best_step"]}
    return about([threads]) | kept | {"seconds": done.seconds}


def table(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over the seeds of each way, a line for each set and model."""
    rows = [row for row in rows if "failed" not in row]
    ways = [way for way in WAYS if any(row["way"] == way for row in rows)]
    lines: list[list[object]] = [["data", "model", "seeds", *ways]]
    for name, model in sorted({(row["set"], row["model"]) for row in rows}):
        those = [row for row in rows if (row["set"], row["model"]) == (name, model)]
        cells = [_cell([row for row in those if row["way"] == way]) for way in ways]
        lines.append([name, model, len({row["seed"] for row in those}), *cells])
    return markdown(lines, words=2)


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    points, divergences = [100 * row["validation"] for row in rows], [row["divergence"] for row in rows]
    return f"{spread(points)}, {fmean(divergences):.3f}"


def wanted(runs: Iterable[Path], models: Iterable[str], ways: Iterable[str], seeds: int) -> list[Row]:
    """All models, seed by seed, so that what is there after any time can be compared."""
    names = [run.name for run in runs]
    return [
        dict(zip(_KEYS, (name, model, way, seed), strict=True))
        for seed, model, name, way in product(range(seeds), models, names, ways)
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    add_choice(parser, "--models", MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    add_choice(parser, "--ways", WAYS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "student_choices.jsonl")
    given = parser.parse_args(arguments)
    need_folders(parser, (run / part for run in given.runs for part in ("teacher", "data")))
    folders = {run.name: run for run in given.runs}
    asked = wanted(given.runs, given.models, given.ways, given.seeds)
    whole = each_once(given.results, asked, lambda one: train(one, folders[one["set"]], given.threads))
    print(table(read_last(given.results, _KEYS)), end="")
    return int(not whole)


if __name__ == "__main__":
    sys.exit(main())
