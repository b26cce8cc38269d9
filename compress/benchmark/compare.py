"""Each measured model against the first: the entries of results.json."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.benchmark.arrivals import Served
from compress.benchmark.backends.opening import Row
from compress.benchmark.instances import CpuSplit
from compress.benchmark.model_worker import Cost, ModelInfo
from compress.benchmark.throughput import Throughput
from compress.benchmark.workload import Latency, Times, speedup_interval
from compress.config import BenchConfig
from compress.evaluation.comparison import find_flips, measure_change
from compress.evaluation.metrics import (
    Indicators,
    choose_metric,
    confidence,
    measure_accuracy,
    measure_quality,
    predictions,
    truth,
)
from compress.folder import MANIFEST, read_manifest
from compress.runtime.predictor import Logits

if TYPE_CHECKING:
    from compress.data import Split


@dataclass(slots=True)
class Measured:
    """Everything that was measured of one model."""

    row: Row
    info: ModelInfo
    logits: Logits
    latency: list[Latency] = field(default_factory=list)
    rounds_ms: list[Times] = field(default_factory=list)  # of the first latency
    cost: Cost | None = None
    throughput: Throughput | None = None
    served: Served | None = None
    splits: list[CpuSplit] = field(default_factory=list)


def compare(measured: dict[str, Measured], test: "Split", config: BenchConfig) -> list[dict[str, Any]]:
    """One entry of results.json for each model, compared with the first; without test labels accuracies are None."""
    first = next(iter(measured.values()))
    labels = all_labels(model.info for model in measured.values())
    true = truth(test.targets(labels, first.info.task), len(labels)) if test.labels else None
    metric = choose_metric(config.metric, first.info.task, len(labels))
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
    own = [labels.index(label) for label in model.info.labels]
    sureness = confidence(model.info.task, model.logits)
    if sureness.ndim == 2:  # of a label that the model does not know it is sure that it does not apply
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
        "size_ratio": first.info.size_bytes / model.info.size_bytes,
    }


def all_labels(models: Iterable[ModelInfo]) -> tuple[str, ...]:
    """Every label that a model knows, sorted: of two, F1 is of the second."""
    return tuple(sorted({label for model in models for label in model.labels}))


def _answers(model: Measured, labels: tuple[str, ...]) -> Indicators:
    """The model's predictions with its columns in the order of ``labels``."""
    predicted = predictions(model.info.task, model.logits)
    placed = np.zeros((len(predicted), len(labels)), dtype=np.bool_)
    placed[:, [labels.index(label) for label in model.info.labels]] = predicted
    return placed


def _priced(model: Measured, price_per_hour: float | None) -> dict[str, Any] | None:
    """The model's cost with the price at its best throughput: a machine paid by the hour would be used so."""
    if model.cost is None:
        return None
    offline = [model.throughput.texts_per_s] if model.throughput else []
    side_by_side = [split.texts_per_s for split in model.splits]
    best = max([latency.texts_per_s for latency in model.latency] + offline + side_by_side)
    price = None if price_per_hour is None else price_per_hour / 3600 / best * 1e6
    return asdict(replace(model.cost, price_per_million_texts=price))


def _entry(name: str, model: Measured, config: BenchConfig) -> dict[str, Any]:
    info, path = model.info, model.row.path
    return {
        "name": name,
        "path": str(path),
        "backend": info.backend,
        "device": model.row.device,
        "provider": info.provider,
        "precision": info.precision,
        "size_bytes": info.size_bytes,
        "parameters": info.parameters,
        "labels": list(info.labels),
        "latency": [asdict(latency) for latency in model.latency],
        "throughput": asdict(model.throughput) if model.throughput else None,
        "served": asdict(model.served) if model.served else None,
        "instances": [asdict(split) for split in model.splits],
        "cost": _priced(model, config.price_per_hour),
        "history": list(read_manifest(path).history) if (path / MANIFEST).is_file() else [],
    }
