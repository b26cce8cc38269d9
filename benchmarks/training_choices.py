"""What changes to fine-tuning give on validation texts, one at a time at today's default rate, with several seeds.

    python -m benchmarks.training_choices [--sets SET...] [--changes CHANGE...] [--seeds 3] [--device auto]
        [--data ../shared/data] [--model demo:minilm] [--threads 1]
        [--results benchmarks/results/training_choices-default-rate.jsonl]

The training is finetune's own, with another objective or another start. Runs of a seed see the same texts in the same
order. A run has the metric of the weights that it keeps, and of its last ones. One that has a line in the results is
not made again. Test files are not read. What earlier rounds of this found is in LOG.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.distillation import METRICS, TO_THE_END
from benchmarks.kept import RESULTS, Row, about, add_choice, each_once, markdown, need_folders, read_last, spread
from compress.clock import Stopwatch
from compress.config import DataConfig, FinetuneConfig
from compress.data.read import read_dataset
from compress.families.view import EncoderView
from compress.machine import torch_threads
from compress.modeling.checkpoint import Checkpoint, load_for_finetuning
from compress.modeling.states import Batch, States
from compress.training.batches import Examples
from compress.training.finetune import EncodedSplits, HardLabels, start_from_the_prior
from compress.training.long_texts import with_long_texts
from compress.training.loop import train
from compress.training.optimization import Losses, hard_labels
from compress.training.run_files import RunFiles

SETS: dict[str, dict[str, Any]] = {
    "sst2": {"epochs": 1, "batch_size": 64},
    "banking77": {"epochs": 8, "batch_size": 64},
    "mrpc": {"epochs": 4, "batch_size": 32},
    "goemotions": {"epochs": 4, "batch_size": 64},
}
CHANGES = ("as it is", "label smoothing 0.1", "R-Drop 1", "head from the labels")
_KEYS = ("data", "change", "seed", "model")
_READ_BY_HEAD = 10_000  # texts whose means the head begins at


class Changed(HardLabels):
    """Fine-tuning's objective with smoothed labels, or with R-Drop: ``model`` reads each batch once more."""

    def __init__(self, model: Any, smoothing: float = 0.0, r_drop: float = 0.0) -> None:
        super().__init__()
        self._model, self._smoothing, self._r_drop = model, smoothing, r_drop

    def __call__(self, states: States, batch: Batch) -> Losses:
        """The loss, under ``loss``."""
        logits, targets = states["logits"], batch["targets"]
        loss = smoothed(logits, targets, self._smoothing)
        if self._r_drop:
            again = self._model(**EncoderView(self._model).inputs(batch)).logits
            loss = (loss + smoothed(again, targets, self._smoothing)) / 2 + self._r_drop * divergence(
                logits, again, several=targets.dtype.is_floating_point
            )
        return {"loss": loss}


def smoothed(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy with smoothed labels (Szegedy et al. 2016); those of multi-label tasks are drawn towards a half."""
    if targets.dtype.is_floating_point:
        return hard_labels(logits, targets * (1 - smoothing) + smoothing / 2)
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


def divergence(one: torch.Tensor, other: torch.Tensor, *, several: bool) -> torch.Tensor:
    """The mean of both Kullback-Leibler divergences, over a text's labels or over each label (Wu et al. 2021)."""
    if several:
        one, other = (torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (one, other))
    first, second = functional.log_softmax(one, dim=-1), functional.log_softmax(other, dim=-1)
    return ((first.exp() - second.exp()) * (first - second)).sum(dim=-1).mean() / 2


@torch.no_grad()
def begin_at_labels(start: Checkpoint, texts: Examples) -> None:
    """Let the last layer begin as a classifier by the nearest mean, with logits of standard deviation 1."""
    model, head = start.model.eval(), EncoderView(start.model).head[-1]
    pooled: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
    rows = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))[:_READ_BY_HEAD].numpy()
    batches = [texts.batch(rows[at : at + 256], "cpu") for at in range(0, len(rows), 256)]
    for batch in batches:
        model(**EncoderView(model).inputs(batch))
    hook.remove()
    vectors, targets = torch.cat(pooled), torch.cat([batch["targets"] for batch in batches])
    several = targets.dtype.is_floating_point
    present = targets if several else functional.one_hot(targets, head.out_features).float()
    centred = vectors - vectors.mean(dim=0)
    means = present.T @ centred / present.sum(dim=0).clamp(min=1)[:, None]
    means /= (centred @ means.T).std().clamp(min=1e-6)
    head.weight.copy_(means)
    head.bias.sub_(means @ vectors.mean(dim=0))


def run(asked: Row, given: argparse.Namespace) -> Row:
    """Train once."""
    name, change, watch = asked["data"], asked["change"], Stopwatch()
    settings = SETS[name] | TO_THE_END | {"metric": METRICS[name], "seed": asked["seed"]}
    config = FinetuneConfig.parse(settings | {"max_length": 128, "device": given.device, "precision": "fp32"})
    data = read_dataset(DataConfig(data=str(given.data / name)))
    with tempfile.TemporaryDirectory() as folder, torch_threads(given.threads):
        start = with_long_texts(load_for_finetuning(given.model, data.task, data.labels, config.seed), config)
        texts = EncodedSplits.of(start, data)
        start_from_the_prior(start, texts.train.targets)
        if change == "head from the labels":
            begin_at_labels(start, texts.train)
        smoothing, r_drop = 0.1 * (change == "label smoothing 0.1"), float(change == "R-Drop 1")
        files = RunFiles(Path(folder), Path(folder, "unfinished"))
        found = train(start, texts.train, texts.validation, Changed(start.model, smoothing, r_drop), config, files)
    told = {"metric": found.metric, "validation": found.best, "last": found.curve[-1][found.metric]}
    told |= {"steps": found.steps, "validation_texts": len(texts.validation), "seconds": round(watch.seconds, 1)}
    return about([given.threads]) | told | {"learning_rate": found.trained_with["learning_rate"]}


def table(rows: Iterable[Row]) -> str:
    """Mean and standard deviation over the seeds, of the weights that were kept and of the last ones."""
    rows = [row for row in rows if "failed" not in row]
    lines: list[Sequence[object]] = [("data", "change", "seeds", "kept", "last")]
    for data, change in dict.fromkeys((row["data"], row["change"]) for row in rows):
        own = [row for row in rows if (row["data"], row["change"]) == (data, change)]
        cells = (spread([100 * row[way] for row in own], ".2f") for way in ("validation", "last"))
        lines.append((data, change, len(own), *cells))
    return markdown(lines, words=2)


def main(arguments: list[str] | None = None) -> int:
    """Run what is not yet in the results, the first seeds first, and print the table; returns 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser, "--sets", SETS)
    add_choice(parser, "--changes", CHANGES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="demo:minilm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "training_choices-default-rate.jsonl")
    given = parser.parse_args(arguments)
    need_folders(parser, (given.data / name for name in given.sets))
    wanted = product(range(given.seeds), given.changes, given.sets)
    asked = [{"data": data, "change": change, "seed": seed, "model": given.model} for seed, change, data in wanted]
    whole = each_once(given.results, asked, lambda one: run(one, given))
    print(table(read_last(given.results, _KEYS)), end="")
    return int(not whole)


if __name__ == "__main__":
    sys.exit(main())
