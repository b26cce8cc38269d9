"""The goals of training and of ``compress auto`` on four data sets, side by side on one machine with a GPU.

    python -m benchmarks.together OUT --data ../shared/data [--cpus 15] [--minutes 9] [--seeds 3] [--sets SET...]
                                  [--results FILE]

For each data set: teachers of several seeds; a search (``--max-drop 1 --max-megabytes 10``) from the first of them as
soon as it is there, whose latency table is measured beside the training; then for each seed students of two layers,
distilled and from the labels alone. Beside these, one BERT's weights in the forms of other families, as families.py
makes them. Every task is a process; what is done is added to OUT/rows.jsonl at once, and not done again; OUT takes no
other settings after that. Before the time is over searches are interrupted, which makes them write the best so far, and
the rest is stopped. The latencies that a search goes by are of a busy machine: measure its models again with
``compress bench``, alone. Test texts are read once a model. What is worth keeping goes to
``benchmarks/results/together.jsonl`` where all is done, else to OUT/together.jsonl, marked as partial, and the exit
status is 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import compress
from benchmarks import families
from benchmarks.distillation import LABELS_ALONE, METRICS, STUDENTS, on_test
from benchmarks.kept import RESULTS
from benchmarks.side_by_side import Place, Task, keep, only_with, parse, run
from benchmarks.together_table import COMPARED, kept
from compress.config import DataConfig, PruneConfig
from compress.data import Split
from compress.data.read import read_dataset
from compress.demo_assets import MINILM, model_source
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.folder import SEARCH, read_manifest
from compress.latency.deployment import deployment_of
from compress.latency.table import latency_table
from compress.machine import torch_device, torch_threads
from compress.modeling.checkpoint import load_classifier, load_for_finetuning
from compress.modeling.torch_predictor import TorchPredictor
from compress.modeling.widths import Architecture, Widths
from compress.tuning.candidates import SPEEDUPS
from compress.tuning.promise import divided

# By LOG.md; the rate is finetune's own where none is named.
TEACHERS: dict[str, dict[str, Any]] = {
    "sst2": {"epochs": 2, "batch_size": 128, "max_length": 64},
    "banking77": {"epochs": 8, "batch_size": 64, "max_length": 64, "learning_rate": 3.2e-4, "patience": 100},
    "mrpc": {"epochs": 4, "batch_size": 32, "max_length": 128},
    "goemotions": {"epochs": 4, "batch_size": 64, "max_length": 64, "learning_rate": 3.2e-4, "patience": 100},
}
GOALS = {"max_drop": 1.0, "max_megabytes": 10.0}
_SEARCH_THREADS = 2
_LEFT_S = 40.0  # before the end: when a search should be done


def tasks(sets: list[str], seeds: int) -> Iterator[Task]:
    """All of them, what matters most first."""
    for name in sets:
        yield Task(f"{name}/teacher-0", teacher, (name, 0))
        yield Task(f"{name}/table", table, (name,), cpus=2)
        needs = (f"{name}/teacher-0", f"{name}/table")
        yield Task(f"{name}/auto", search, (name,), needs, cpus=2, interruptible=True)
    if "banking77" in sets:
        for form in families.FORMS:
            yield Task(f"families/{form}", one_form, (form,))
    for seed in range(1, seeds):
        for name in sets:
            yield Task(f"{name}/teacher-{seed}", teacher, (name, seed))
    for seed in range(seeds):
        for name in (name for name in COMPARED if name in sets):
            for kind in ("distilled", "labels"):
                teachers = (f"{name}/teacher-{seed}",)
                yield Task(f"{name}/two-layers-{kind}-{seed}", student, (name, seed, kind), teachers)


def teacher(place: Place, name: str, seed: int) -> Mapping[str, Any]:
    """Fine-tune one, and read the test texts once."""
    out = place.folder(f"{name}/teacher-{seed}")
    if not out.exists():
        compress.finetune(MINILM, place.data / name, out, seed=seed, metric=METRICS[name], threads=1, **TEACHERS[name])
    return judged(place, name, out)


def student(place: Place, name: str, seed: int, kind: str) -> Mapping[str, Any]:
    """Two layers from the teacher of the same seed, with its answers or from the labels alone."""
    out = place.folder(f"{name}/two-layers-{kind}-{seed}")
    settings = STUDENTS[name] | {"layers": 2, "seed": seed, "threads": 1} | (LABELS_ALONE if kind == "labels" else {})
    if kind == "labels":
        settings["metric"] = METRICS[name]
    compress.distill(place.folder(f"{name}/teacher-{seed}"), place.data / name, out, **settings)
    return judged(place, name, out)


def judged(place: Place, name: str, folder: Path) -> Mapping[str, Any]:
    """The metric on validation, as the training had it, and on test."""
    data = read_dataset(DataConfig(data=str(place.data / name)))
    model = load_classifier(str(folder), pairs=data.pairs)
    found = on_test(TorchPredictor(model, torch_device("auto")), data, METRICS[name])
    made = read_manifest(folder).history[-1]
    validation = {key: value for key, value in made["metrics"].items() if key.startswith("validation_")}
    return {"metric": METRICS[name], "test": found, "validation": validation, "training_s": made["seconds"]}


def table(place: Place, name: str) -> Mapping[str, Any]:
    """The latency table that the search will look for; it does not depend on the weights."""
    data = read_dataset(DataConfig(data=str(place.data / name)))
    data = replace(data, validation=divided(data)[0], test=Split([], []))
    start = load_for_finetuning(MINILM, data.task, data.labels, 0)
    start = replace(start, max_length=TEACHERS[name]["max_length"])
    deployment = deployment_of(start, data, PruneConfig(speedup=max(SPEEDUPS)), _SEARCH_THREADS)
    with torch_threads(_SEARCH_THREADS):
        latency_table(Architecture.of(start.model), Widths.of(start.model), deployment)
    return {}


def search(place: Place, name: str) -> Mapping[str, Any]:
    """What there is time for; interrupted, it writes the best so far."""
    out = place.folder(f"{name}/auto")
    goal: dict[str, Any] = GOALS | {"metric": METRICS[name], "threads": _SEARCH_THREADS}
    goal["hours"] = (place.left_s() - _LEFT_S) / 3600
    failed = ""
    try:
        compress.auto(place.folder(f"{name}/teacher-0"), place.data / name, out, **goal)
    except (KeyboardInterrupt, CompressError) as error:
        if not (out / "front").is_dir():
            raise
        failed = str(error)
    found = json.loads((out / SEARCH).read_text(encoding="utf-8"))
    return {"goal": goal, "said": failed} | {key: found[key] for key in ("facts", "seconds", "tries")}


def one_form(place: Place, form: str) -> Mapping[str, Any]:
    """The models of one family's form."""
    given = argparse.Namespace(out=place.folder("families"), data=place.data / "banking77", epochs=5, threads=1)
    families.make(FAMILIES[form], model_source(MINILM), given)
    return {}


def main() -> int:
    """Run everything, and keep what was found; returns 1 where not all is done."""
    given = parse(__doc__, list(TEACHERS), RESULTS / "together.jsonl", cpus=15, minutes=9.0)
    place = Place.of(given)
    preload = ["torch", "transformers", "benchmarks.families", "compress.tuning.auto"]
    only_with(place, TEACHERS, STUDENTS, LABELS_ALONE, GOALS)
    whole = run(place, list(tasks(given.sets, given.seeds)), given.cpus, preload)
    return keep(given.results, place, kept, _SEARCH_THREADS, whole)


if __name__ == "__main__":
    sys.exit(main())
