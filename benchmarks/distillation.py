"""What students of half and of a third of the teacher's layers keep on four data sets, with the teacher and without.

    python -m benchmarks.distillation [--sets SET...] [--data ../shared/data] [--out runs/distillation] [--threads N]

For each data set: a teacher (MiniLM, fine-tuned), then for three seeds a student of 3 layers, a student of 2, and the
same 2 layers from the same weights trained on the labels alone, with the same settings otherwise. Settings were chosen
on validation texts (hidden_weight gained 0.65 points on SST-2; early stopping at a high rate cost MRPC and Banking77
some), or are first guesses; none was chosen on a test file. Models that are there already are not trained again, so a
run that was interrupted goes on. Writes ``benchmarks/results/distillation/SET.json``.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import compress
from benchmarks.kept import RESULTS, about, add_choice, markdown, need_folders, read, spread, write
from compress.benchmark.rows import Row, open_row
from compress.config import DataConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.evaluation.metrics import positive_column, score
from compress.folder import read_manifest
from compress.machine import usable_cpus
from compress.progress import say
from compress.runtime.predictor import Predictor, predict_logits

KEPT = RESULTS / "distillation"
SEEDS = (0, 1, 2)
METRICS = {"sst2": "accuracy", "banking77": "accuracy", "mrpc": "f1", "goemotions": "macro_f1"}

Settings = dict[str, Any]
TO_THE_END = {"patience": 100}  # the last steps, at a low rate, are worth their time
TEACHERS: dict[str, Settings] = {
    "sst2": {"epochs": 2, "batch_size": 64, "learning_rate": 8e-5, "max_length": 64},
    "banking77": {"epochs": 12, "batch_size": 32, "learning_rate": 1.5e-4, "max_length": 64},
    "mrpc": {"epochs": 6, "batch_size": 32, "learning_rate": 5e-5, "max_length": 128},
    "goemotions": {"epochs": 5, "batch_size": 64, "learning_rate": 2e-4, "max_length": 64, **TO_THE_END},
}
STUDENTS: dict[str, Settings] = {
    "sst2": {"epochs": 3, "batch_size": 128, "learning_rate": 2e-4, "hidden_weight": 1.0},
    "banking77": {"epochs": 20, "batch_size": 64, "learning_rate": 3e-4, "hidden_weight": 1.0, **TO_THE_END},
    "mrpc": {"epochs": 10, "batch_size": 32, "learning_rate": 1.5e-4, "hidden_weight": 1.0, **TO_THE_END},
    "goemotions": {"epochs": 3, "batch_size": 64, "learning_rate": 2e-4, "hidden_weight": 1.0, **TO_THE_END},
}
TWO_LAYERS: dict[str, Settings] = {"mrpc": {"epochs": 5}}  # six students of two layers; these had less time
LABELS_ALONE: Settings = {"soft_weight": 0.0, "hard_weight": 1.0, "hidden_weight": 0.0}
MODELS: dict[str, Settings] = {
    "3 layers, distilled": {"layers": 3},
    "2 layers, distilled": {"layers": 2},
    "2 layers, labels alone": {"layers": 2, **LABELS_ALONE},
}


def measure(name: str, data: Path, out: Path, threads: int | None) -> None:
    """Train what is not there yet, and write the test metric of every model."""
    dataset = read_dataset(DataConfig(data=str(data)))
    metric = METRICS[name]
    common: Settings = {"metric": metric, "threads": threads}
    teacher = out / "teacher"
    if not teacher.exists():
        compress.finetune("demo:minilm", data, teacher, **TEACHERS[name], **common)
    rows = [row("teacher", 0, teacher, dataset, metric)]
    for model, shape in MODELS.items():
        for seed in SEEDS:
            folder = out / f"{model.replace(', ', '-').replace(' ', '-')}-{seed}"
            if not folder.exists():
                say(f"{name}: {model}, seed {seed}")
                settings = STUDENTS[name] | (TWO_LAYERS.get(name, {}) if shape["layers"] == 2 else {}) | shape
                compress.distill(teacher, data, folder, seed=seed, **settings, **common)
            rows.append(row(model, seed, folder, dataset, metric))
    write(KEPT / f"{name}.json", about([threads or usable_cpus()]) | {"metric": metric, "models": rows})


def row(model: str, seed: int, folder: Path, dataset: Dataset, metric: str) -> dict[str, Any]:
    """One model's metric on the test texts, with how it was made."""
    predictor = open_row(Row(folder), usable_cpus())
    found = on_test(predictor, dataset, metric)
    made, validation = next(  # the training that it comes from; what follows only wrote it in another form
        (step, value)
        for step in reversed(read_manifest(folder).history)
        for name, value in step["metrics"].items()
        if name.startswith("validation_")
    )
    return {"model": model, "seed": seed, "test": found, "validation": validation, "texts": len(dataset.test),
            "seconds": made["seconds"], "config": made["config"]}  # fmt: skip


def on_test(model: Predictor, dataset: Dataset, metric: str) -> float:
    """The metric on the test texts."""
    logits = predict_logits(model, dataset.test.texts)
    targets = dataset.test.targets(model.labels, dataset.task)
    return score(metric, logits, targets, positive=positive_column(model.labels))


def table(results: dict[Path, dict[str, Any]]) -> str:
    """Mean and spread (standard deviation over seeds) of each model, and its distance to the teacher, in points."""
    lines = [["data", "metric", "teacher", *MODELS]]
    for path, result in results.items():
        points = {
            model: [100 * row["test"] for row in result["models"] if row["model"] == model]
            for model in ("teacher", *MODELS)
        }
        teacher = points["teacher"][0]
        cells = [_cell(points[model], teacher) for model in MODELS]
        lines.append([path.stem, result["metric"].replace("_", "-"), f"{teacher:.1f}", *cells])
    return markdown(lines, words=2)


def _cell(points: list[float], teacher: float) -> str:
    return f"{spread(points)} ({fmean(points) - teacher:+.1f})" if points else ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_choice(parser, "--sets", METRICS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    need_folders(parser, (given.data / name for name in given.sets))
    for name in given.sets:
        measure(name, given.data / name, given.out / name, given.threads)
    print(table({path: read(path) for path in sorted(KEPT.glob("*.json"))}), end="")


if __name__ == "__main__":
    main()
