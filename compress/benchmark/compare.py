"""Each measured model against the first: the entries of results.json."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.benchmark.arrivals import Served
from compress.benchmark.cost import WorkerCosts
from compress.benchmark.instances import CpuSplit
from compress.benchmark.rows import Row
from compress.benchmark.throughput import Throughput
from compress.benchmark.workers.client import Opened
from compress.benchmark.workload import Latency, Times, speedup_interval
from compress.config import BenchConfig
from compress.evaluation.comparison import measure_change
from compress.evaluation.flips import find_flips
from compress.evaluation.metrics import Indicators, choose_metric, predictions, truth
from compress.evaluation.quality import confidence, measure_accuracy, measure_quality
from compress.folder import MANIFEST, read_manifest
from compress.runtime.predictor import Logits

if TYPE_CHECKING:
    from compress.data import Split


@dataclass(slots=True)
class Measured:
    """Everything that was found out about one model."""

    side: Row
    opened: Opened
    logits: Logits
    latency: list[Latency] = field(default_factory=list)
    rounds_ms: list[Times] = field(default_factory=list)  # of the first latency
    account: WorkerCosts | None = None
    throughput: Throughput | None = None
    served: Served | None = None
    splits: list[CpuSplit] = field(default_factory=list)


def compare(measured: dict[str, Measured], test: "Split", config: BenchConfig) -> list[dict[str, Any]]:
    """One entry of results.json a model, each against the first; test texts without labels leave accuracies None."""
    first = next(iter(measured.values()))
    labels = all_labels(model.opened for model in measured.values())
    true = truth(test.targets(labels, first.opened.task), len(labels)) if test.labels else None
    metric = choose_metric(config.metric, first.opened.task, len(labels))
    first_answers = _answers(first, labels)
    entries = []
    for name, model in measured.items():
        answers = _answers(model, labels)
        judged = {
            "accuracy": _accuracy(metric, model, labels, answers, true, config.seed),
            "versus_first": _change(metric, first_answers, answers, true, config.seed) | _ratios(first, model),
            "flips": asdict(find_flips(test.texts, labels, first_answers, answers, true)),
        }
        entries.append(_entry(name, model, config) | judged)
    return entries


def _accuracy(
    metric: str, model: Measured, labels: tuple[str, ...], answers: Indicators, true: Indicators | None, seed: int
) -> dict[str, Any] | None:
    if true is None:
        return None
    own = [labels.index(label) for label in model.opened.labels]
    sureness = confidence(model.opened.task, model.logits)
    if sureness.ndim == 2:  # a label that the model does not know, it denies with certainty
        known, sureness = sureness, np.ones(answers.shape)
        sureness[:, own] = known
    quality = measure_quality(labels, answers, true, sureness)
    return asdict(measure_accuracy(metric, answers, true, seed)) | asdict(quality)


def _change(metric: str, first: Indicators, other: Indicators, true: Indicators | None, seed: int) -> dict[str, Any]:
    if true is None:
        agreement = float((first == other).all(axis=1).mean())
        return {"accuracy_delta": None, "ci95": None, "agreement": agreement, "mcnemar_p": None}
    return asdict(measure_change(metric, first, other, true, seed))


def _ratios(first: Measured, model: Measured) -> dict[str, Any]:
    in_step = 0 < len(first.rounds_ms) == len(model.rounds_ms)
    return {
        "speedup_p50": first.latency[0].p50_ms / model.latency[0].p50_ms,
        "speedup_ci95": speedup_interval(first.rounds_ms, model.rounds_ms) if in_step else None,
        "size_ratio": first.opened.size_bytes / model.opened.size_bytes,
    }


def all_labels(models: Iterable[Opened]) -> tuple[str, ...]:
    """Every label that a model knows, sorted, so that the second of two is the one that F1 is of."""
    return tuple(sorted({label for model in models for label in model.labels}))


def _answers(model: Measured, labels: tuple[str, ...]) -> Indicators:
    """The model's predictions with its columns in the order of ``labels``."""
    predicted = predictions(model.opened.task, model.logits)
    placed = np.zeros((len(predicted), len(labels)), dtype=np.bool_)
    placed[:, [labels.index(label) for label in model.opened.labels]] = predicted
    return placed


def _most_texts_per_s(model: Measured) -> float:
    """The best that was measured, which is what a machine paid by the hour would be used for."""
    offline = [model.throughput.texts_per_s] if model.throughput else []
    side_by_side = [split.texts_per_s for split in model.splits]
    return max([latency.texts_per_s for latency in model.latency] + offline + side_by_side)


def _entry(name: str, model: Measured, config: BenchConfig) -> dict[str, Any]:
    opened, account, path = model.opened, model.account, model.side.path
    return {
        "name": name,
        "path": str(model.side.path),
        "backend": opened.backend,
        "device": model.side.device,
        "provider": opened.provider,
        "precision": opened.precision,
        "size_bytes": opened.size_bytes,
        "parameters": opened.parameters,
        "labels": list(opened.labels),
        "latency": [asdict(latency) for latency in model.latency],
        "throughput": asdict(model.throughput) if model.throughput else None,
        "served": asdict(model.served) if model.served else None,
        "instances": [asdict(split) for split in model.splits],
        "cost": asdict(account.cost(config.price_per_hour, _most_texts_per_s(model))) if account else None,
        "history": list(read_manifest(path).history) if (path / MANIFEST).is_file() else [],
    }
