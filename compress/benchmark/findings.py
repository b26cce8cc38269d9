"""The record of all that is measured, which an early end leaves whole, and checks that the models suit the data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compress.benchmark.contention import CpuWatch
from compress.benchmark.cost import Cost
from compress.benchmark.model_worker import ModelInfo
from compress.benchmark.rows import Row
from compress.benchmark.throughput import CpuSplit, Served, Throughput
from compress.benchmark.workload import ANSWERS, Average, Latency, Times, Workload, summarise
from compress.data import Split
from compress.errors import CompressError
from compress.evaluation.metrics import choose_metric
from compress.runtime.predictor import Logits
from compress.task import reads_pairs


@dataclass(slots=True)
class Measured:
    """Everything that was measured of one model."""

    row: Row
    info: ModelInfo
    logits: Logits
    latency: list[Latency] = field(default_factory=list)
    rounds_ms: list[Times] = field(default_factory=list)  # the raw times of the first latency, one array a round
    answer_ms: list[Times] = field(default_factory=list)  # from a text to its label, on the first thread count
    one_thread_ms: list[Times] = field(default_factory=list)  # real texts on one thread, where timed beside others
    cost: Cost | None = None
    throughput: Throughput | None = None
    served: Served | None = None
    splits: list[CpuSplit] = field(default_factory=list)
    handed_on: list[int] = field(default_factory=list)  # rows of the test texts that a cascade's large model answers


@dataclass(slots=True)
class Findings:
    """Everything measured so far; Ctrl-C leaves it as it is."""

    measured: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    watch: CpuWatch = field(default_factory=CpuWatch)
    one_thread_beside: bool = False  # whether one thread is being timed beside the thread counts of the settings

    def timed(self) -> dict[str, Measured]:
        """The models that did not fail, with at least their first latency."""
        return {name: model for name, model in self.measured.items() if model.latency and name not in self.failed}

    def skip(self, load: str, threads: int, reasons: Mapping[str, str]) -> None:
        """Note the models that could not be measured under a load, with the reasons."""
        about = {"load": load, "threads": threads}
        self.skipped += [{"name": name, **about, "reason": reason} for name, reason in reasons.items()]

    @contextmanager
    def recorded(self, workload: Workload, threads: int) -> Iterator[dict[str, list[Times]]]:
        """Keep the raw times that the body gathers, by model, and their figures, however the body ends."""
        rounds_ms: dict[str, list[Times]] = {}
        try:
            yield rounds_ms
        finally:
            about = {"batch": workload.batch, "length": workload.length, "threads": threads}
            for name, rounds in rounds_ms.items():
                model = self.measured[name]
                if not model.latency:
                    model.rounds_ms = rounds
                elif self.one_thread_beside:
                    model.one_thread_ms = rounds
                model.latency.append(summarise(workload, threads, rounds))
                self.samples.append({"name": name, **about, "rounds_ms": _rounded(rounds)})

    def all_samples(self, first_threads: int) -> list[dict[str, Any]]:
        """All raw times; first those from a text to its label, which are taken on ``first_threads`` threads."""
        about = {"batch": ANSWERS.batch, "length": ANSWERS.length, "threads": first_threads}
        timed = {name: model.answer_ms for name, model in self.measured.items() if model.answer_ms}
        return [{"name": name, **about, "rounds_ms": _rounded(rounds)} for name, rounds in timed.items()] + self.samples


def choose_average(measured: Mapping[str, Measured]) -> Average:
    """What all models are compared by: the median, or the mean if one is a cascade: its median is its small model's."""
    return "mean" if any(model.info.hand_on_below is not None for model in measured.values()) else "p50"


def _rounded(rounds: Sequence[Times]) -> list[list[float]]:
    return [np.round(times, 4).tolist() for times in rounds]


def check_reference(rows: Mapping[str, Row], failed: Mapping[str, str]) -> None:
    """Refuse to go on without the model that the others are compared with."""
    first = next(iter(rows))
    if first in failed:
        raise CompressError(
            f"{rows[first].path}: the first model is the reference and cannot be measured ({failed[first]})"
        )


def all_labels(models: Iterable[ModelInfo]) -> tuple[str, ...]:
    """Every label that any model has, sorted; with two labels, F1 is that of the second."""
    return tuple(sorted({label for model in models for label in model.labels}))


def check_models(
    info: Mapping[str, ModelInfo], test: Split, task: str, metric: str | None, workloads: Sequence[Workload] = ()
) -> None:
    """Refuse data, lengths and a metric that do not suit every model."""
    test_labels = {label for labels in test.labels for label in labels}
    longest = max((workload.length for workload in workloads if isinstance(workload.length, int)), default=0)
    for name, model in info.items():
        # A checkpoint that is not ours does not say that it reads pairs, so pairs may be given to any model.
        fits = (
            task in (model.task, f"pair_{model.task}") if test.labels else reads_pairs(task) >= reads_pairs(model.task)
        )
        if not fits:
            raise CompressError(f"{name} is a {model.task} model, the data is {task}; give data that it was made for")
        if unknown := sorted(test_labels - set(model.labels)):
            known = ", ".join(model.labels)
            raise CompressError(f"{name} does not know the label {unknown[0]!r} of the test split; it has {known}")
        if longest > model.max_length:
            raise CompressError(f"bench.length {longest} is more than the {model.max_length} tokens that {name} takes")
    choose_metric(metric, task if test.labels else next(iter(info.values())).task, len(all_labels(info.values())))
