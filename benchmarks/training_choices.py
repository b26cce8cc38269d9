"""What each change to finetune's recipe gives on validation texts, one change at a time, with several seeds.

    python -m benchmarks.training_choices OUT.jsonl --data ../shared/data [--model demo:minilm] [--workers 2]
        [--seeds 3] [--minutes 60] [--device cpu]

Every run of a seed sees the same texts in the same order. Each is judged by its last weights, by the best of its
epochs, and by averages of its weights: exponential ones and the plain one over the last 30% of the steps. Results are
added to OUT.jsonl as soon as a run is over; a run that stands there is not made again. Test files are not read.
"""

import argparse
import json
import multiprocessing
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.kept import add_choice, markdown, read_lines, spread
from compress.clock import Stopwatch
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.evaluation.metrics import positive_column, score
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint, load_for_finetuning
from compress.training.batches import Examples, LengthBatches
from compress.training.finetune import encode, start_from_the_prior
from compress.training.optimization import hard_labels

_EMA_DECAYS = (0.99, 0.998)
_AVERAGED_SHARE = 0.3  # of the steps, the last ones, in the plain average


@dataclass(frozen=True)
class Recipe:
    """How to train on one data set; ``texts`` of its train split are used, all where it is None."""

    data: str
    epochs: int
    metric: str = "accuracy"
    texts: int | None = None
    batch_size: int = 64
    learning_rate: float = 8e-5
    max_length: int = 128
    layer_decay: float = 1.0  # what a layer's rate is multiplied by for each layer above it (Howard and Ruder 2018)
    smoothing: float = 0.0  # of labels (Szegedy et al. 2016)
    r_drop: float = 0.0  # weight of the divergence of two passes with other dropout (Wu et al. 2021)
    head_from_labels: bool = False  # the head begins at the mean pooled vector of each label's texts


RECIPES = (
    Recipe("sst2", epochs=1),
    Recipe("banking77", epochs=8),
    Recipe("mrpc", epochs=4, metric="f1", batch_size=32),
    Recipe("goemotions", epochs=3, metric="macro_f1", texts=20_000),
)
CHANGES: dict[str, Callable[[Recipe], Recipe]] = {
    "as it is": lambda recipe: recipe,
    "half the rate, twice the epochs": lambda recipe: replace(
        recipe, learning_rate=recipe.learning_rate / 2, epochs=2 * recipe.epochs
    ),
    "twice the rate": lambda recipe: replace(recipe, learning_rate=2 * recipe.learning_rate),
    "four times the rate": lambda recipe: replace(recipe, learning_rate=4 * recipe.learning_rate),
    "four times the rate, twice the epochs": lambda recipe: replace(
        recipe, learning_rate=4 * recipe.learning_rate, epochs=2 * recipe.epochs
    ),
    "layer decay 0.85": lambda recipe: replace(recipe, layer_decay=0.85),
    "label smoothing 0.1": lambda recipe: replace(recipe, smoothing=0.1),
    "R-Drop 1": lambda recipe: replace(recipe, r_drop=1.0),
    "head from the labels": lambda recipe: replace(recipe, head_from_labels=True),
}


@dataclass(frozen=True)
class Task:
    """One training run."""

    change: str
    data: str
    seed: int

    @property
    def key(self) -> list[Any]:
        """As the results have it."""
        return [self.data, self.change, self.seed]


@dataclass
class Material:
    """What the runs share: read and encoded once, before the processes start."""

    model: str
    device: str
    labels: dict[str, tuple[str, tuple[str, ...]]]  # of each data set the task and the labels
    encoded: dict[str, tuple[Examples, Examples]]


def run(material: Material, task: Task) -> dict[str, Any]:
    """Train once: the row of the results."""
    watch = Stopwatch()
    recipe = CHANGES[task.change](next(recipe for recipe in RECIPES if recipe.data == task.data))
    (kind, labels), (train, validation) = material.labels[task.data], material.encoded[task.data]
    if recipe.texts and recipe.texts < len(train):
        chosen = np.random.default_rng(task.seed).permutation(len(train))[: recipe.texts]
        train = train.sample(np.sort(chosen))
    start = load_for_finetuning(material.model, kind, labels, task.seed)
    start_from_the_prior(start, train.targets)
    network: Any = start.model
    network.to(material.device)
    if recipe.head_from_labels:
        begin_at_labels(start, train, material.device)
    found = fit(start, train, validation, recipe, task.seed, material.device)
    row = {"data": task.data, "change": task.change, "seed": task.seed, "metric": recipe.metric}
    return row | {"texts": len(train), "validation_texts": len(validation), "seconds": watch.seconds} | found


def fit(
    start: Checkpoint, train: Examples, validation: Examples, recipe: Recipe, seed: int, device: str
) -> dict[str, Any]:
    """Train ``start`` in place; the metric and loss of each way to choose weights."""
    model: Any = start.model
    torch.manual_seed(seed)
    order = LengthBatches(train.encodings.lengths, recipe.batch_size, seed)
    epochs = [order.epoch(number) for number in range(recipe.epochs)]
    steps = sum(map(len, epochs))
    optimizer = torch.optim.AdamW(groups_of(model, recipe), fused=True)
    warmup = max(1, round(0.1 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    averages = [Average(model, decay) for decay in (*_EMA_DECAYS, None)]
    judge = Judge(start, validation, recipe, device)
    curve, step = [], 0
    for batches in epochs:
        model.train()
        for rows in batches:
            loss = loss_of(model, train.batch(rows, device), recipe)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            for average in averages:
                if average.decay is not None or step > (1 - _AVERAGED_SHARE) * steps:
                    average.add(model)
        curve.append(judge(model))
    found: dict[str, Any] = {"steps": steps, "curve": curve, "last": curve[-1]}
    found["best epoch"] = max(curve, key=lambda point: point["metric"])
    for average in averages:
        average.give(model)
        name = "mean of the last 30%" if average.decay is None else f"EMA {average.decay}"
        found[name] = judge(model)
    return found


def loss_of(model: Any, batch: dict[str, torch.Tensor], recipe: Recipe) -> torch.Tensor:
    """The loss of a batch under the recipe."""
    inputs, targets = EncoderView(model).inputs(batch), batch["targets"]
    logits = model(**inputs).logits
    loss = smoothed(logits, targets, recipe.smoothing)
    if not recipe.r_drop:
        return loss
    again = model(**inputs).logits
    loss = (loss + smoothed(again, targets, recipe.smoothing)) / 2
    return loss + recipe.r_drop * divergence(logits, again, several=targets.dtype.is_floating_point)


def smoothed(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy with smoothed labels; those of multi-label tasks are drawn towards a half."""
    if not smoothing:
        return hard_labels(logits, targets)
    if targets.dtype.is_floating_point:
        return hard_labels(logits, targets * (1 - smoothing) + smoothing / 2)
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


def divergence(one: torch.Tensor, other: torch.Tensor, *, several: bool) -> torch.Tensor:
    """The mean of both Kullback-Leibler divergences, over the labels of a text or over each label by itself."""
    if several:
        one, other = (torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (one, other))
    first, second = functional.log_softmax(one, dim=-1), functional.log_softmax(other, dim=-1)
    both = (first.exp() - second.exp()) * (first - second)
    return both.sum(dim=-1).mean() / 2


def groups_of(model: Any, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """AdamW's groups: matrices decay, and lower layers learn more slowly where the recipe says so."""
    view = EncoderView(model)
    layers = len(view.layers)
    below = {id(weight): 0 for table in (*view.tables, view.norm) for weight in table.parameters()}
    for number, layer in enumerate(view.stack, start=1):
        below |= {id(weight): number for weight in layer.parameters()}
    grouped: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for weight in model.parameters():
        grouped.setdefault((below.get(id(weight), layers + 1), weight.ndim > 1), []).append(weight)
    for (height, matrix), weights in grouped.items():
        rate = recipe.learning_rate * recipe.layer_decay ** (layers + 1 - height)
        yield {"params": weights, "lr": rate, "weight_decay": 0.01 if matrix else 0.0}


@torch.no_grad()
def begin_at_labels(start: Checkpoint, train: Examples, device: str) -> None:
    """Let the last layer begin as a classifier by the nearest mean, with logits of standard deviation 1."""
    model, head = start.model.eval(), EncoderView(start.model).head[-1]
    pooled: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
    indicators = []
    for rows in LengthBatches(train.encodings.lengths, 256, 0).epoch(0)[:40]:
        batch = train.batch(rows, device)
        model(**EncoderView(model).inputs(batch))
        targets = batch["targets"]
        several = targets.dtype.is_floating_point
        indicators.append(targets if several else functional.one_hot(targets, head.out_features).float())
    hook.remove()
    vectors, present = torch.cat(pooled), torch.cat(indicators)
    centred = vectors - vectors.mean(dim=0)
    means = present.T @ centred / present.sum(dim=0).clamp(min=1)[:, None]
    scale = 1 / (centred @ means.T).std().clamp(min=1e-6)
    head.weight.copy_(means * scale)
    head.bias.add_(-(means * scale) @ vectors.mean(dim=0))


class Average:
    """An average of a model's weights over steps: exponential with ``decay``, plain where it is None."""

    def __init__(self, model: Any, decay: float | None) -> None:
        self.decay = decay
        self._mean = [weight.detach().clone() for weight in model.parameters()]
        self._count = 0

    @torch.no_grad()
    def add(self, model: Any) -> None:
        """Take in the weights as they are now."""
        self._count += 1
        plain = 1 / self._count
        new = plain if self.decay is None else max(1 - self.decay, plain)
        torch._foreach_lerp_(self._mean, [weight.detach() for weight in model.parameters()], new)

    @torch.no_grad()
    def give(self, model: Any) -> None:
        """Put the average in the place of the weights."""
        for weight, mean in zip(model.parameters(), self._mean, strict=True):
            weight.copy_(mean)


class Judge:
    """The metric and the loss of a model on the validation texts."""

    def __init__(self, start: Checkpoint, validation: Examples, recipe: Recipe, device: str) -> None:
        self._metric, self._positive = recipe.metric, positive_column(start.labels)
        self._targets, rows = validation.targets, np.argsort(validation.encodings.lengths)
        self._rows = [rows[at : at + 512] for at in range(0, len(rows), 512)]
        self._batches = [validation.batch(some, device) for some in self._rows]

    @torch.no_grad()
    def __call__(self, model: Any) -> dict[str, float]:
        """``metric`` as a fraction and ``loss``."""
        model.eval()
        answers = [model(**EncoderView(model).inputs(batch)).logits for batch in self._batches]
        losses = [hard_labels(logits, batch["targets"]) for logits, batch in zip(answers, self._batches, strict=True)]
        logits = np.empty((len(self._targets), answers[0].shape[1]), np.float32)
        for rows, found in zip(self._rows, answers, strict=True):
            logits[rows] = found.float().cpu().numpy()
        weights = [len(rows) for rows in self._rows]
        loss = float(np.average([float(each) for each in losses], weights=weights))
        return {"metric": score(self._metric, logits, self._targets, positive=self._positive), "loss": loss}


def read_material(folder: Path, model: str, device: str, wanted: list[str]) -> Material:
    """Read and encode the data sets."""
    material = Material(model, device, {}, {})
    for recipe in RECIPES:
        if recipe.data not in wanted:
            continue
        data = read_dataset(data_config(folder / recipe.data))
        start = load_for_finetuning(model, data.task, data.labels, 0)
        start = replace(start, max_length=min(recipe.max_length, start.max_length))
        material.labels[recipe.data] = data.task, data.labels
        material.encoded[recipe.data] = encode(start, data.train), encode(start, data.validation)
    return material


def data_config(folder: Path) -> DataConfig:
    """MRPC's columns have names of their own."""
    if folder.name == "mrpc":
        return DataConfig.parse({"data": str(folder), "text": ["#1 String", "#2 String"], "label": "Quality"})
    return DataConfig.parse({"data": str(folder)})


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each data set, change and way to choose weights: mean, spread and gain over the first way."""
    ways = ("last", "best epoch", *(f"EMA {decay}" for decay in _EMA_DECAYS), "mean of the last 30%")
    lines = [["data", "change", "seeds", *ways]]
    for data, change in dict.fromkeys((row["data"], row["change"]) for row in rows):
        own = [row for row in rows if (row["data"], row["change"]) == (data, change)]
        cells = (spread([100 * row[way]["metric"] for row in own], ".2f") for way in ways)
        lines.append([data, change, str(len(own)), *cells])
    return markdown(lines, words=2)


_material: Material


def _start(file: Path) -> None:
    """A process that trains: what all of them share is read once."""
    global _material  # noqa: PLW0603 - it is the process's own
    _material = pickle.loads(file.read_bytes())
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")


def _work(task: Task) -> dict[str, Any]:
    try:
        return run(_material, task)
    except Exception as error:  # noqa: BLE001 - one run that fails must not take the others with it
        return {"data": task.data, "change": task.change, "seed": task.seed, "failure": repr(error)[:300]}


def main() -> int:
    """Run what is not yet in the results, the first seeds first, and print the table; returns 1 if a run failed.

    One that failed has a line with the reason, and is tried again the next time.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_choices", description="finetune's choices")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds sst2, banking77, ...")
    add_choice(parser, "--sets", [recipe.data for recipe in RECIPES])
    add_choice(parser, "--changes", CHANGES)
    parser.add_argument("--model", default="demo:minilm")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    watch = Stopwatch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers", "benchmarks.training_choices"])
    material = read_material(given.data, given.model, given.device, given.sets)
    done = [[row["data"], row["change"], row["seed"]] for row in read_lines(given.out) if "failure" not in row]
    tasks = [Task(change, data, seed) for seed in range(given.seeds) for change in given.changes for data in given.sets]
    tasks = [task for task in tasks if task.key not in done]
    print(f"{len(tasks)} runs, read in {watch.seconds:.0f} s", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "material")
        file.write_bytes(pickle.dumps(material))
        with context.Pool(given.workers, _start, (file,)) as pool:
            results = pool.imap_unordered(_work, tasks)
            for _ in tasks:
                try:
                    row = results.next(timeout=max(0.1, 60 * given.minutes - watch.seconds))
                except multiprocessing.TimeoutError:
                    print("the time is over", flush=True)
                    pool.terminate()
                    break
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                failed += "failure" in row
                told = row.get("failure") or f"{100 * row['last']['metric']:.2f}, {row['seconds']:.0f} s"
                print(f"{row['data']}, {row['change']}, seed {row['seed']}: {told}", flush=True)
    print(table([row for row in read_lines(given.out) if "failure" not in row]), end="")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
