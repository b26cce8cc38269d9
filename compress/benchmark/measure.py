"""bench: every model's accuracy, latency and size, side by side."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compress.benchmark.protocol import Findings, Measured, all_labels, check_reference, measure
from compress.benchmark.report.recommend import recommend
from compress.benchmark.rows import plan, unique_names
from compress.benchmark.throughput import cpu_splits
from compress.benchmark.warnings import doubts_of, warnings_of
from compress.benchmark.workload import Times, median_interval, speedup_interval
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.evaluation.balance import measure_balance
from compress.evaluation.comparison import find_flips, measure_change
from compress.evaluation.metrics import (
    RESAMPLES,
    Indicators,
    choose_metric,
    confidence,
    measure_accuracy,
    measure_quality,
    predictions,
    truth,
)
from compress.folder import MANIFEST, read_manifest
from compress.machine import brief_spin, describe_machine, gpu_name, usable_cpus
from compress.runtime.graph_file import INT8_GRAPH, activations_of, operators

if TYPE_CHECKING:
    from compress.data import Split


def bench(models: Sequence[Path], test: "Split", task: str, config: BenchConfig) -> dict[str, Any]:
    """Measure ``models`` on the ``test`` split of a ``task``; the first is the reference of every comparison.

    A later model that fails to load or whose process dies is listed under ``failed`` with its reason; the others are
    measured all the same. A model that none of the requested backends can run is ``left_out``, a batch that needs more
    memory than there is is ``skipped``, and ``warnings`` are reasons to doubt the figures, such as a busy machine. Test
    texts without labels leave accuracies out. Ctrl-C ends the measuring and returns the results so far, ``partial``, if
    every model has been timed at least once.

    Returns:
        The document that results.json holds, and the raw times as ``samples``, which are written apart.

    Raises:
        CompressError: there are no test texts; a model has another task, lacks a test label or cannot take a length; a
            device, provider or backend is missing; there are more instances than CPUs; a path is no folder; or the
            first model could not be measured.
    """
    if not test.texts:
        raise CompressError("bench needs test texts and the data has none; name a file of them with --test")
    if config.device == "cuda" and gpu_name() is None:
        raise CompressError("bench.device is cuda, but no NVIDIA GPU is found here; use --device cpu")
    for path in models:
        if not path.is_dir() and path.parent.is_dir():  # what has no such parent may be a hub id
            raise CompressError(f"{path}: no such folder; give folders of models")
    named = unique_names(models)
    rows, left_out = plan(named, config)
    cpu_splits(config.instances, usable_cpus())  # refused before anything is timed
    threads = config.threads or [usable_cpus()]
    findings, partial = Findings(), False
    try:
        measure(rows, test, task, threads, config, findings)
    except KeyboardInterrupt:
        if not findings.timed():
            raise
        partial = True
    check_reference(rows, findings.failed)
    failed = findings.failed
    entries = compare(findings.timed(), test, config)
    balance = _balance(findings.timed(), test, config) if test.labels else None
    recommendation, contention = recommend(entries, balance), findings.watch.contention()
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": partial,
        "machine": describe_machine(threads),
        "settings": config.model_dump() | {"threads": threads, "resamples": RESAMPLES},
        "spin": brief_spin().get("GOMP_SPINCOUNT"),
        "test_texts": len(test.texts),
        "balance": balance,
        "models": entries,
        "recommendation": asdict(recommendation),
        "busy": asdict(contention) if contention else None,
        "warnings": warnings_of(entries, recommendation.name, contention) + doubts_of(balance),
        "failed": [{"name": name, "path": str(rows[name].path), "reason": reason} for name, reason in failed.items()],
        "left_out": [{"name": name, "path": str(named[name]), "reason": why} for name, why in left_out.items()],
        "skipped": findings.skipped,
        "samples": findings.all_samples(threads[0]),
    }


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
        if true is None:
            agreement = float((first_answers == answers).all(axis=1).mean())
            accuracy, change = None, {"accuracy_delta": None, "ci95": None, "agreement": agreement, "mcnemar_p": None}
        else:
            accuracy = asdict(measure_accuracy(metric, answers, true, config.seed))
            accuracy |= asdict(measure_quality(labels, answers, true, _sureness(model, labels)))
            change = asdict(measure_change(metric, first_answers, answers, true, config.seed))
        compared = {
            "accuracy": accuracy,
            "versus_first": change | _ratios(first, model),
            "flips": asdict(find_flips(test.texts, labels, first_answers, answers, true)),
        }
        entries.append(_entry(name, model, config) | compared)
    return entries


def _sureness(model: Measured, labels: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """How sure the model is; of a label that it does not know it is sure that it does not apply."""
    sureness = confidence(model.info.task, model.logits)
    if sureness.ndim == 1:
        return sureness
    placed = np.ones((len(sureness), len(labels)))
    placed[:, [labels.index(label) for label in model.info.labels]] = sureness
    return placed


def _balance(measured: dict[str, Measured], test: "Split", config: BenchConfig) -> dict[str, Any]:
    labels, task = all_labels(model.info for model in measured.values()), next(iter(measured.values())).info.task
    metric = choose_metric(config.metric, task, len(labels))
    return asdict(measure_balance(metric, labels, truth(test.targets(labels, task), len(labels))))


def _ratios(first: Measured, model: Measured) -> dict[str, Any]:
    """The speed-ups of the model and of answers on the first thread count, that on one thread, the ratio of sizes."""
    ratios: dict[str, Any] = {
        "speedup_p50": first.latency[0].p50_ms / model.latency[0].p50_ms,
        "speedup_ci95": _interval(first.rounds_ms, model.rounds_ms),
        "size_ratio": first.info.size_bytes / model.info.size_bytes,
    }
    if first.answer_ms and model.answer_ms:
        ratios["speedup_answer"] = _median_ms(first.answer_ms) / _median_ms(model.answer_ms)
        ratios["speedup_answer_ci95"] = _interval(first.answer_ms, model.answer_ms)
    if first.one_thread_ms and model.one_thread_ms:
        speedup = _median_ms(first.one_thread_ms) / _median_ms(model.one_thread_ms)
        interval = _interval(first.one_thread_ms, model.one_thread_ms)
        ratios["one_thread"] = {"speedup_p50": speedup, "speedup_ci95": interval}
    return ratios


def _median_ms(rounds_ms: list[Times]) -> float:
    return float(np.median(np.concatenate(rounds_ms)))


def _interval(first_ms: list[Times], other_ms: list[Times]) -> tuple[float, float] | None:
    """The speed-up's, where both models took part in the same rounds."""
    return speedup_interval(first_ms, other_ms) if 0 < len(first_ms) == len(other_ms) else None


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
        "activations": activations_of(operators(path / INT8_GRAPH)) if info.precision == "int8" else None,
        "size_bytes": info.size_bytes,
        "parameters": info.parameters,
        "labels": list(info.labels),
        "answer_p50_ms": _median_ms(model.answer_ms) if model.answer_ms else None,
        "answer_p50_ci95": median_interval(model.answer_ms) if model.answer_ms else None,
        "latency": [asdict(latency) for latency in model.latency],
        "throughput": asdict(model.throughput) if model.throughput else None,
        "served": asdict(model.served) if model.served else None,
        "instances": [asdict(split) for split in model.splits],
        "cost": _priced(model, config.price_per_hour),
        "history": list(read_manifest(path).history) if (path / MANIFEST).is_file() else [],
    }
