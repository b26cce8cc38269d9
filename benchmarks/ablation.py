"""What each step buys: the whole way from three teachers to a static int8 model, then with one part of it left out.

    python -m benchmarks.ablation OUT --data ../shared/data [--sets sst2 banking77] [--seeds 3] [--cpus 1]
                                  [--device auto] [--minutes M] [--results FILE]

For each data set and seed: a student of three layers, distilled from three teachers with hidden states, relations and
altered copies of the texts; cut to three times its speed by the search, with recovery; tokens that the texts lack
removed; static int8 in our graph. Every other model lacks one part of it, but for two: without distillation there are
no copies and no other teachers either, and the stock graph has dynamic int8, so the table compares it with our graph
without static activations. Where the copies are left out a student sees as many texts, in more epochs. The tasks run
side by side (side_by_side.py), and a run that was stopped goes on with the same settings; exit status 1 where not all
is done. At the end the models of the first seed answer the test texts in turns, with no other task beside them: these
times are kept. Nothing is chosen by test texts.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

import compress
from benchmarks.ablation_table import WHOLE, kept
from benchmarks.ablation_variants import TEACHERS_COUNT, VARIANTS, Settings, Stage, Variant, makers, place_of, slug
from benchmarks.distillation import METRICS, STUDENTS, on_test
from benchmarks.graphs_models import export_stock
from benchmarks.kept import RESULTS
from benchmarks.pruning import RECOVERY, speeds, uniform_shares
from benchmarks.side_by_side import Place, Task, keep, only_with, parse, run
from benchmarks.together import TEACHERS
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.demo_assets import MINILM
from compress.folder import read_manifest, write_manifest
from compress.machine import cpu_flags, int8_flags
from compress.modeling.checkpoint import load_classifier, save_checkpoint
from compress.new_folder import new_folder
from compress.runtime.graph_file import INT8_GRAPH, PRODUCER
from compress.runtime.session import OnnxPredictor

LAYERS, SPEEDUP = 3, 3.0
_THREADS = 1

COPIES = {"sst2": 1, "banking77": 4}  # altered copies of each train text: so many that an epoch stays short


@dataclass(frozen=True)
class Way:
    """What all tasks share.

    Attributes:
        device: that trains.
        model: the encoder that the teachers are made of.
        trial: settings of every training, instead of the usual ones.
    """

    device: str = "auto"
    model: str = MINILM
    trial: Settings = field(default_factory=dict)

    def training(self, name: str, seed: int, *settings: Settings) -> Settings:
        """Of one training: those for the data set, the others, and what the trial says."""
        merged: Settings = {"seed": seed, "threads": _THREADS, "device": self.device, "metric": METRICS[name]}
        for each in (*settings, self.trial):
            merged |= each
        return merged


def tasks(sets: Sequence[str], seeds: int, cpus: int, way: Way) -> Iterator[Task]:
    """All of them; those that others wait for come first."""
    for name in sets:
        teachers = tuple(f"{name}/teacher-{number}" for number in range(TEACHERS_COUNT))
        for number, task in enumerate(teachers):
            yield Task(task, teacher, (way, name, number))
        for seed, title in product(range(seeds), makers("student")):
            own = f"{name}/{place_of('student', VARIANTS[title], seed)}"
            yield Task(own, student, (way, name, title, seed), teachers)
        whole, table = f"{name}/{place_of('student', VARIANTS[WHOLE], 0)}", f"{name}/table"
        yield Task(table, latency_table, (name,), (whole,), cpus)
        for seed, title in product(range(seeds), makers("pruned")):
            source, own = (f"{name}/{place_of(stage, VARIANTS[title], seed)}" for stage in get_args(Stage))
            yield Task(own, pruned, (way, name, title, seed), (source, table))
        for seed, title in product(range(seeds), VARIANTS):
            source = f"{name}/{place_of('pruned', VARIANTS[title], seed)}"
            yield Task(f"{name}/{slug(title)}-{seed}", finished, (name, title, seed), (source,))
        yield Task(f"{name}/times", times, (name,), tuple(f"{name}/{slug(title)}-0" for title in VARIANTS), cpus)


def teacher(place: Place, way: Way, name: str, number: int) -> Mapping[str, Any]:
    """Fine-tune one; ``number`` is its seed."""
    out = place.folder(f"{name}/teacher-{number}")
    compress.finetune(way.model, place.data / name, out, overwrite=True, **way.training(name, number, TEACHERS[name]))
    return {}


def student(place: Place, way: Way, name: str, title: str, seed: int) -> Mapping[str, Any]:
    """Distil one; each seed begins with another of the teachers, whose layers it gets."""
    variant, out = VARIANTS[title], place.folder(f"{name}/{place_of('student', VARIANTS[title], seed)}")
    numbers = [(seed + other) % TEACHERS_COUNT for other in range(variant.teachers)]
    sources = [place.folder(f"{name}/teacher-{number}") for number in numbers]
    shape: Settings = {"layers": LAYERS}
    if not variant.from_teacher:
        shape = {"student": str(at_random(sources[0], out.with_name(f"{out.name}-start"), seed))}
    whole = STUDENTS[name] | {"relation_weight": 1.0, "augment": COPIES[name], "epochs": epochs(name, variant)}
    settings = way.training(name, seed, whole, shape, variant.distill)
    if settings.get("soft_weight") != 0:
        del settings["metric"]  # the distance from the teacher chooses the checkpoint
    compress.distill(sources, place.data / name, out, overwrite=True, **settings)
    return {}


def epochs(name: str, variant: Variant) -> int:
    """Of a student: without altered copies so many more that it takes as many steps."""
    usual: int = STUDENTS[name]["epochs"]
    return usual * (1 + COPIES[name]) if variant.distill.get("augment") == 0 else usual


def at_random(source: Path, out: Path, seed: int) -> Path:
    """A student's shape with the teacher's embeddings and random layers."""
    checkpoint = load_classifier(str(source))
    config = deepcopy(checkpoint.model.config)
    config.num_hidden_layers = LAYERS
    torch.manual_seed(seed)
    model = type(checkpoint.model)(config)
    embeddings = {key: weight for key, weight in checkpoint.model.state_dict().items() if ".embeddings." in key}
    model.load_state_dict(embeddings, strict=False)
    with new_folder(out, overwrite=True) as folder:
        save_checkpoint(replace(checkpoint, model=model), folder)
    return out


def latency_table(place: Place, name: str) -> Mapping[str, Any]:
    """Measured once, with nothing beside it: it depends on the student's shape alone, and is kept in the cache."""
    speeds(place.folder(f"{name}/{place_of('student', VARIANTS[WHOLE], 0)}"), place.data / name, _THREADS)
    return {}


def pruned(place: Place, way: Way, name: str, title: str, seed: int) -> Mapping[str, Any]:
    """Cut a student, and let it recover by the teacher's answers."""
    variant, data = VARIANTS[title], place.data / name
    source = place.folder(f"{name}/{place_of('student', variant, seed)}")
    goal: Settings = {"speedup": SPEEDUP}
    if not variant.search:
        whole, table, _ = speeds(source, data, _THREADS)
        goal = uniform_shares(whole, table, table.latency_ms(whole) / SPEEDUP)
        goal["importance"] = "benchmarks.pruning.uniform_magnitude"
    goal["teacher"] = str(place.folder(f"{name}/teacher-{seed % TEACHERS_COUNT}"))
    settings = way.training(name, seed, RECOVERY[name], goal, variant.prune)
    out = place.folder(f"{name}/{place_of('pruned', variant, seed)}")
    compress.prune(source, data, out, overwrite=True, **settings)
    return {}


def finished(place: Place, name: str, title: str, seed: int) -> Mapping[str, Any]:
    """The form that is served, judged on the test texts."""
    variant, data = VARIANTS[title], place.data / name
    model = place.folder(f"{name}/{place_of('pruned', variant, seed)}")
    if variant.vocabulary:
        smaller = place.folder(f"{name}/smaller/{slug(title)}-{seed}")
        compress.prune(model, data, smaller, overwrite=True, vocabulary=True, threads=_THREADS)
        model = smaller
    out = place.folder(f"{name}/{slug(title)}-{seed}")
    if variant.form == "fp32":
        compress.export(model, out, overwrite=True, threads=_THREADS)
    else:
        activations = "static" if variant.form == "static" else "dynamic"
        settings: Settings = {"activations": activations, "max_drop": 100.0, "threads": _THREADS}
        compress.quantize(model, data, out, overwrite=True, **settings)
    if variant.form == "stock":
        put_stock_graph(model, out)
    return {"set": name, "left_out": title, "seed": seed} | judged(out, data, METRICS[name])


def put_stock_graph(source: Path, out: Path) -> None:
    """What ``torch.onnx.export`` and ``quantize_dynamic`` make of the same weights, in the place of our graph.

    Weights have 7 bits where the CPU would saturate with 8, as the guide of ONNX Runtime has it.
    """
    graph, fp32, manifest = out / INT8_GRAPH, out / "stock.onnx", read_manifest(out)
    tokens = [[0, 1, 2, 3, 4, 5, 6, 7]] * 2
    export_stock(load_classifier(str(source)).model, tokens, fp32)
    vnni = bool(int8_flags(cpu_flags()))
    quantize_dynamic(fp32, graph, weight_type=QuantType.QInt8, reduce_range=not vnni)
    fp32.unlink()
    model = onnx.load(graph)
    model.producer_name = PRODUCER  # our runtime opens no other, and both graphs shall be timed in it
    onnx.save(model, graph)
    write_manifest(out, replace(manifest, files=()))


def judged(folder: Path, data: Path, metric: str) -> dict[str, Any]:
    """The metric on the test texts, and the size of the graph."""
    found = on_test(OnnxPredictor.open(folder, _THREADS), read_dataset(DataConfig(data=str(data))), metric)
    graph = next(folder.rglob("*.onnx"))
    return {"metric": metric, "test": found, "bytes": graph.stat().st_size}


def times(place: Place, name: str) -> Mapping[str, Any]:
    """Text to answer of the first seed's models and of the first teacher, in turns."""
    folders = [place.folder(f"{name}/{slug(title)}-0") for title in VARIANTS]
    out = place.folder(f"{name}/report")
    models = [place.folder(f"{name}/teacher-0"), *folders]
    compress.bench(models, place.data / name, out, overwrite=True, threads=[_THREADS], seconds=2.0)
    entries = json.loads((out / "results.json").read_text(encoding="utf-8"))["models"]
    named = {"teacher-0": "teacher"} | {folder.name: title for folder, title in zip(folders, VARIANTS, strict=True)}
    return {"set": name, "answer_ms": {named[entry["name"]]: entry["answer_p50_ms"] for entry in entries}}


def main() -> int:
    """Run what is not done yet, and keep what was found; returns 1 where not all is done."""
    given = parse(__doc__, list(COPIES), RESULTS / "ablation.jsonl", cpus=1, minutes=math.inf, device="auto")
    place = Place.of(given)
    preload = ["torch", "transformers", "benchmarks.ablation"]
    way = Way(given.device)
    only_with(place, way, LAYERS, SPEEDUP, COPIES, VARIANTS, TEACHERS, STUDENTS, RECOVERY)
    whole = run(place, list(tasks(given.sets, given.seeds, given.cpus, way)), given.cpus, preload)
    return keep(given.results, place, kept, _THREADS, whole)


if __name__ == "__main__":
    sys.exit(main())
