"""Each measured model against the first: the entries of results.json."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.bench.accuracy import Accuracy, Change, measure_accuracy, measure_change
from compress.bench.client import Opened
from compress.bench.latency import Latency
from compress.config import BenchConfig
from compress.folder import MANIFEST, read_manifest
from compress.metrics import Indicators, choose_metric, predictions, truth
from compress.runtime.predictor import Logits

if TYPE_CHECKING:
    from compress.data import Split


@dataclass(slots=True)
class Measured:
    """Everything that was found out about one model."""

    path: Path
    opened: Opened
    logits: Logits
    latency: list[Latency] = field(default_factory=list)


def compare(measured: dict[str, Measured], test: "Split", config: BenchConfig) -> list[dict[str, Any]]:
    """One entry of results.json a model, each against the first."""
    first = next(iter(measured.values()))
    labels = all_labels(model.opened for model in measured.values())
    true = truth(test.targets(labels, first.opened.task), len(labels))
    metric = choose_metric(config.metric, first.opened.task, len(labels))
    first_answers = _answers(first, labels)
    entries = []
    for name, model in measured.items():
        answers = _answers(model, labels)
        accuracy = measure_accuracy(metric, answers, true, config.seed)
        change = measure_change(metric, first_answers, answers, true, config.seed)
        entries.append(_entry(name, model, first, accuracy=accuracy, change=change, device=config.device))
    return entries


def all_labels(models: Iterable[Opened]) -> tuple[str, ...]:
    """Every label that a model knows, sorted, so that the second of two is the one that F1 is of."""
    return tuple(sorted({label for model in models for label in model.labels}))


def _answers(model: Measured, labels: tuple[str, ...]) -> Indicators:
    """The model's predictions with its columns in the order of ``labels``."""
    predicted = predictions(model.opened.task, model.logits)
    placed = np.zeros((len(predicted), len(labels)), dtype=np.bool_)
    placed[:, [labels.index(label) for label in model.opened.labels]] = predicted
    return placed


def _entry(
    name: str, model: Measured, first: Measured, *, accuracy: Accuracy, change: Change, device: str
) -> dict[str, Any]:
    opened = model.opened
    return {
        "name": name,
        "path": str(model.path),
        "backend": opened.backend,
        "device": device,
        "provider": opened.provider,
        "precision": opened.precision,
        "size_bytes": opened.size_bytes,
        "parameters": opened.parameters,
        "labels": list(opened.labels),
        "accuracy": asdict(accuracy),
        "versus_first": asdict(change)
        | {
            "speedup_p50": first.latency[0].p50_ms / model.latency[0].p50_ms,
            "size_ratio": first.opened.size_bytes / opened.size_bytes,
        },
        "latency": [asdict(latency) for latency in model.latency],
        "history": list(read_manifest(model.path).history) if (model.path / MANIFEST).is_file() else [],
    }
