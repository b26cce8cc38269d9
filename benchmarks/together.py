"""The goals of training and of ``compress auto`` on four data sets, side by side on one machine with a GPU.

    python -m benchmarks.together OUT --data ../shared/data [--cpus 15] [--minutes 9] [--seeds 3] [--sets SET...]

For each data set: teachers of several seeds; a search (``--max-drop 1 --max-megabytes 10``) from the first of them as
soon as it is there, whose latency table is measured beside the training; then for each seed students of two layers,
distilled and from the labels alone. Beside these, one BERT's weights in the forms of other families, as families.py
makes them. Every task is a process; what is done is added to OUT/rows.jsonl at once. Before the time is over searches
are interrupted, which makes them write the best so far, and the rest is stopped. The latencies that a search goes by
are of a busy machine: measure its models again with ``compress bench``, alone. Test texts are read once a model.
"""

import argparse
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import compress
from benchmarks import families
from benchmarks.distillation import METRICS, STUDENTS
from compress.clock import Stopwatch
from compress.config import DataConfig, PruneConfig
from compress.data import Split, read_dataset
from compress.demo_assets import MINILM, model_source
from compress.errors import CompressError
from compress.evaluation.metrics import positive_column, score
from compress.families import FAMILIES
from compress.folder import read_manifest
from compress.latency.deployment import deployment_of
from compress.latency.table import latency_table
from compress.machine import describe_machine, torch_device, use_threads
from compress.modeling.checkpoint import load_classifier, load_for_finetuning
from compress.modeling.torch_predictor import TorchPredictor
from compress.modeling.widths import Architecture, Widths
from compress.runtime.predictor import predict_logits
from compress.tuning.candidates import SPEEDUPS
from compress.tuning.memory import STATE
from compress.tuning.promise import divided

# By LOG.md; the rate is finetune's own where none is named.
TEACHERS: dict[str, dict[str, Any]] = {
    "sst2": {"epochs": 2, "batch_size": 128, "max_length": 64},
    "banking77": {"epochs": 8, "batch_size": 64, "max_length": 64, "learning_rate": 3.2e-4, "patience": 100},
    "mrpc": {"epochs": 4, "batch_size": 32, "max_length": 128},
    "goemotions": {"epochs": 4, "batch_size": 64, "max_length": 64, "learning_rate": 3.2e-4, "patience": 100},
}
LABELS_ALONE = {"soft_weight": 0.0, "hard_weight": 1.0, "hidden_weight": 0.0}
GOALS = {"max_drop": 1.0, "max_megabytes": 10.0}
COMPARED = ("banking77", "mrpc")  # the sets that are small enough for six students
_SEARCH_THREADS = 2
_LEFT_S, _WARNED_S = 40.0, 25.0  # before the end: when a search should be done, and when it is interrupted


@dataclass(frozen=True)
class Place:
    """Where everything is, and how long there is."""

    out: Path
    data: Path
    ends: float  # by time.time()

    def folder(self, name: str) -> Path:
        return self.out / name

    def left_s(self) -> float:
        return self.ends - time.time()


@dataclass(frozen=True)
class Task:
    """A piece of work for a process of its own; its ``work`` returns what is added to the row."""

    name: str
    work: Callable[..., Mapping[str, Any]]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()
    cpus: int = 1


def tasks(sets: list[str], seeds: int) -> Iterator[Task]:
    """All of them, what matters most first."""
    for name in sets:
        yield Task(f"{name}/teacher-0", teacher, (name, 0))
        yield Task(f"{name}/table", table, (name,), cpus=2)
        yield Task(f"{name}/auto", search, (name,), (f"{name}/teacher-0", f"{name}/table"), cpus=2)
    if "banking77" in sets:
        for form in families.FORMS:
            yield Task(f"families/{form}", one_form, (form,))
    for seed in range(1, seeds):
        for name in sets:
            yield Task(f"{name}/teacher-{seed}", teacher, (name, seed))
    for seed in range(seeds):
        for name in (name for name in COMPARED if name in sets):
            for kind in ("distilled", "labels"):
                needs = (f"{name}/teacher-{seed}",)
                yield Task(f"{name}/two-layers-{kind}-{seed}", student, (name, seed, kind), needs)


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
    logits = predict_logits(TorchPredictor(model, torch_device("auto")), data.test.texts)
    found = score(
        METRICS[name], logits, data.test.targets(model.labels, data.task), positive=positive_column(model.labels)
    )
    made = read_manifest(folder).history[-1]
    validation = {key: value for key, value in made["metrics"].items() if key.startswith("validation_")}
    return {"metric": METRICS[name], "test": found, "validation": validation, "training_s": made["seconds"]}


def table(place: Place, name: str) -> Mapping[str, Any]:
    """The latency table that the search will look for; it does not depend on the weights."""
    use_threads(_SEARCH_THREADS)
    data = read_dataset(DataConfig(data=str(place.data / name)))
    data = replace(data, validation=divided(data)[0], test=Split([], []))
    start = load_for_finetuning(MINILM, data.task, data.labels, 0)
    start = replace(start, max_length=TEACHERS[name]["max_length"])
    deployment = deployment_of(start, data, PruneConfig(speedup=max(SPEEDUPS)), _SEARCH_THREADS)
    latency_table(Architecture.of(start.model), Widths.of(start.model), deployment)
    return {}


def search(place: Place, name: str) -> Mapping[str, Any]:
    """What there is time for; interrupted, it writes the best so far."""
    out = place.folder(f"{name}/auto")
    goal: dict[str, Any] = GOALS | {
        "hours": max(0.14, (place.left_s() - _LEFT_S) / 3600),
        "metric": METRICS[name],
        "threads": _SEARCH_THREADS,
    }
    failed = ""
    try:
        compress.auto(place.folder(f"{name}/teacher-0"), place.data / name, out, **goal)
    except (KeyboardInterrupt, CompressError) as error:
        if not (out / "front").is_dir():
            raise
        failed = str(error)
    found = json.loads((out / STATE).read_text(encoding="utf-8"))
    return {"goal": goal, "said": failed} | {key: found[key] for key in ("facts", "seconds", "tries")}


def one_form(place: Place, form: str) -> Mapping[str, Any]:
    """The models of one family's form."""
    given = argparse.Namespace(out=place.folder("families"), data=place.data / "banking77", epochs=5, threads=1)
    families.make(FAMILIES[form], model_source(MINILM), given)
    return {}


@dataclass
class Running:
    """A task's process."""

    task: Task
    process: BaseProcess
    watch: Stopwatch = field(default_factory=Stopwatch)


def do(task: Task, place: Place, row: Path) -> None:
    """In its own process: the work, and its row in a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(row.with_suffix(".log"), os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    watch = Stopwatch()
    found = dict(task.work(place, *task.arguments))
    row.write_text(json.dumps({"task": task.name, "seconds": watch.seconds, **found}) + "\n", encoding="utf-8")


def run(place: Place, wanted: list[Task], cpus: int) -> None:
    """Keep the CPUs busy until all is done or the time is over."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers", "benchmarks.families", "compress.tuning.auto"])
    running: list[Running] = []
    done: set[str] = set()
    rows, warned = place.out / "rows", False
    rows.mkdir(parents=True, exist_ok=True)
    while (running or wanted) and place.left_s() > 0:
        free = cpus - sum(each.task.cpus for each in running)
        for task in [task for task in wanted if done.issuperset(task.needs)]:
            if task.cpus > free:
                break  # what matters less waits too
            row = rows / f"{task.name.replace('/', '-')}.json"
            process = context.Process(target=do, args=(task, place, row))
            process.start()
            running.append(Running(task, process))
            wanted.remove(task)
            free -= task.cpus
        for each in [each for each in running if not each.process.is_alive()]:
            running.remove(each)
            row = rows / f"{each.task.name.replace('/', '-')}.json"
            print(f"{each.task.name}: {each.watch.seconds:.0f} s, {told(row)}", flush=True)
            if row.is_file():
                done.add(each.task.name)
                with (place.out / "rows.jsonl").open("a", encoding="utf-8") as file:
                    file.write(row.read_text(encoding="utf-8"))
        if place.left_s() < _WARNED_S and not warned:
            warned = True
            wanted.clear()
            for each in running:
                assert each.process.pid is not None
                os.kill(each.process.pid, signal.SIGINT if each.task.work is search else signal.SIGTERM)
        time.sleep(0.2)
    for each in running:
        each.process.kill()
        print(f"{each.task.name}: not done", flush=True)


def told(row: Path) -> str:
    """A task's result in a few words."""
    if not row.is_file():
        log = row.with_suffix(".log")
        return f"failed: {log.read_text(encoding='utf-8', errors='replace')[-600:] if log.is_file() else ''}"
    found = json.loads(row.read_text(encoding="utf-8"))
    if "test" in found:
        return f"test {100 * found['test']:.2f}, validation {found['validation']}"
    return f"{len(found.get('tries', ()))} tries {found.get('said', '')}"


def main() -> None:
    """Run everything, and write what the machine is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, ...")
    parser.add_argument("--sets", nargs="+", default=list(TEACHERS), choices=list(TEACHERS))
    parser.add_argument("--cpus", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=9.0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "machine.json").write_text(json.dumps(describe_machine([_SEARCH_THREADS])), encoding="utf-8")
    place = Place(given.out.resolve(), given.data.resolve(), time.time() + 60 * given.minutes)
    run(place, list(tasks(given.sets, given.seeds)), given.cpus)


if __name__ == "__main__":
    main()
