"""What each way to train faster, or in less memory, gives: texts a second as a ratio, and the peak of memory.

    python -m benchmarks.training_speed OUT.json [--cases short document] [--rounds 5] [--steps 6] [--threads 2]

A BERT in the shape of MiniLM (384 wide, random weights) is trained on random tokens in a process of its own for each
variant: without any of the changes, with one of them, and with all. The processes take turns, in an order that is
reversed each round; the ratio is the median over the rounds of a variant's rate over that of the first one in the same
round. Memory is the process's ``ru_maxrss``, with its libraries.
"""

import argparse
import resource
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from benchmarks.kept import about, write
from compress.clock import Stopwatch
from compress.config import DistillConfig
from compress.distillation.objective import Distillation
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import Batch, States
from compress.runtime.encoding import Encoding
from compress.training import loop
from compress.training.batches import Encodings, Examples
from compress.training.finetune import HardLabels
from compress.training.optimization import Objective, Optimizer
from compress.training.run_files import RunFiles

CHANGES = ("in parts", "first token alone")
VARIANTS: dict[str, tuple[str, ...]] = {"before": (), **{change: (change,) for change in CHANGES}, "all": CHANGES}
LABELS = ("no", "yes")


@dataclass(frozen=True)
class Case:
    """What is trained: texts of up to ``tokens``, in batches of 32; from a teacher's logits or the labels alone."""

    tokens: int
    layers: int
    distilled: bool


CASES = {
    "short": Case(25, layers=6, distilled=False),
    "student": Case(64, layers=3, distilled=True),
    "document": Case(512, layers=6, distilled=False),
}


def start(changes: Sequence[str], threads: int) -> None:
    """Set up a process for a variant: the changes that it lacks are taken back."""
    torch.set_num_threads(threads)
    if "in parts" not in changes:
        loop.PART_TOKENS["cpu"] = 10**9
    if "first token alone" not in changes:
        vars(loop)["first_token_alone"] = lambda *_: nullcontext()


def turn(case: Case, steps: int) -> tuple[float, float]:
    """Train once, for a step more than ``steps``: texts a second after the first one, and the peak of memory in MB."""
    ended: list[float] = []
    watch, take = Stopwatch(), Optimizer.step

    def noted(self: Optimizer, accelerator: Any) -> None:
        take(self, accelerator)
        ended.append(watch.seconds)

    Optimizer.step = noted  # type: ignore[method-assign]
    try:
        texts = fit(case, steps + 1)
    finally:
        Optimizer.step = take  # type: ignore[method-assign]
    rate = texts / len(ended) * (len(ended) - 1) / (ended[-1] - ended[0])
    return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def fit(case: Case, steps: int) -> int:
    """One epoch; the number of its texts."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(case.tokens // 2, case.tokens + 1, 32 * steps)
    lengths[: len(lengths) // 2] = case.tokens  # many documents are cut to the limit
    texts = [Encoding(rng.integers(5, 30_000, length).tolist(), [0] * length) for length in lengths.tolist()]
    student, targets = classifier(case.layers), rng.integers(0, 2, len(texts))
    settings = {"device": "cpu", "precision": "fp32", "epochs": 1, "freeze_embeddings": case.distilled}
    config = DistillConfig.parse(settings | {"batch_size": 32, "eval_steps": 10**6})
    objective: Objective = HardLabels()
    if case.distilled:
        objective = Distillation(student.model, student.model, config, multi_label=False)
    examples = Examples(Encodings.pack(texts), targets, _answers if case.distilled else None)
    with tempfile.TemporaryDirectory() as name:
        files = RunFiles(Path(name), Path(name, "unfinished"))
        loop.train(student, examples, examples.sample(np.arange(1)), objective, config, files)
    return len(texts)


def _answers(rows: Sequence[int], batch: Batch) -> States:
    generator = torch.Generator().manual_seed(rows[0])
    return {"logits": torch.randn(len(batch["targets"]), len(LABELS), generator=generator)}


def classifier(layers: int) -> Checkpoint:
    """A MiniLM without what it knows."""
    config = BertConfig(hidden_size=384, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=1536)
    tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4})
    return Checkpoint(BertForSequenceClassification(config), tokenizer, "single_label", LABELS, 512)


def measure(case: Case, rounds: int, steps: int, threads: int) -> list[dict[str, Any]]:
    """A row for each variant."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    with ExitStack() as stack:
        spawn = get_context("spawn")
        processes = {
            name: stack.enter_context(ProcessPoolExecutor(1, spawn, start, (changes, threads)))
            for name, changes in VARIANTS.items()
        }
        for number in range(rounds):
            for name in list(VARIANTS)[:: 1 if number % 2 == 0 else -1]:
                found[name].append(processes[name].submit(turn, case, steps).result())
    before = [rate for rate, _ in found["before"]]
    return [
        {
            "variant": name,
            "texts_per_s": median(rate for rate, _ in turns),
            "ratio": median(rate / base for (rate, _), base in zip(turns, before, strict=True)),
            "peak_mb": turns[-1][1],
        }
        for name, turns in found.items()
    ]


def main() -> None:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_speed", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    rows = []
    print("| case | variant | texts/s | ratio | peak MB |\n|---|---|--:|--:|--:|")
    for name in given.cases:
        for row in measure(CASES[name], given.rounds, given.steps, given.threads):
            rows.append({"case": name, **row})
            print(
                f"| {name} | {row['variant']} | {row['texts_per_s']:.1f} | {row['ratio']:.2f} | {row['peak_mb']:.0f} |"
            )
    write(given.out, about([given.threads]) | {"rounds": given.rounds, "rows": rows})


if __name__ == "__main__":
    main()
