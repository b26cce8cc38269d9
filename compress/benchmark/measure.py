"""bench: every model's accuracy, latency and size, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from compress.benchmark.findings import Findings, Measured, check_reference, choose_average
from compress.benchmark.judge import balance_of, judge
from compress.benchmark.protocol import measure
from compress.benchmark.report.recommend import recommend
from compress.benchmark.rows import Row, plan, unique_names
from compress.benchmark.throughput import cpu_splits
from compress.benchmark.warnings import label_warnings, timing_warnings
from compress.benchmark.workload import Average, Times, average_interval, average_ms, speedup_interval
from compress.config import BenchConfig
from compress.data import Split
from compress.errors import CompressError
from compress.evaluation.metrics import RESAMPLES
from compress.folder import MANIFEST, read_manifest
from compress.machine import brief_spin, describe_machine, gpu_name, usable_cpus
from compress.runtime.graph_file import INT8_GRAPH, activations_of, operators


@dataclass(frozen=True, slots=True)
class BenchRun:
    """Everything that one run measured; :func:`results_of` makes the results from it."""

    named: Mapping[str, Path]  # every model's folder by its name
    rows: Mapping[str, Row]  # by the names in the report
    left_out: Mapping[str, str]  # the reasons by the model's name
    threads: list[int]
    findings: Findings
    partial: bool  # whether Ctrl-C ended it early


def bench(models: Sequence[Path], test: Split, task: str, config: BenchConfig) -> dict[str, Any]:
    """The results of ``models`` on the ``test`` split of a ``task``: what :func:`measure_models` measures."""
    return results_of(measure_models(models, test, task, config), test, config)


def measure_models(models: Sequence[Path], test: Split, task: str, config: BenchConfig) -> BenchRun:
    """Measure ``models`` on the ``test`` split of a ``task``; the first is the reference of every comparison.

    A later model is listed under ``failed``, with its reason, if it fails to load or before everything is measured that
    each model has once (real texts on the first thread count, costs, throughput, answers); the others are measured all
    the same. If it fails later, as for lack of memory, only the load is ``skipped`` that it failed under. A model that
    none of the requested backends can run is ``left_out``, and ``warnings`` are reasons to doubt the figures, such as a
    busy machine. Without test labels there are no accuracies. Ctrl-C ends the measuring and returns what is known so
    far, ``partial``, if every model has been timed at least once.

    Raises:
        CompressError: there are no test texts; a model has another task, lacks a test label or cannot take a length; a
            device, provider or backend is missing; there are more instances than CPUs; a path is no folder; or the
            first model could not be measured.
    """
    if not test.texts:
        raise CompressError("bench needs test texts and the data has none; name a file of them with --test")
    if config.device == "cuda" and gpu_name() is None:
        raise CompressError("bench.device is cuda, but no NVIDIA GPU is found here; use --device cpu")
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
    return BenchRun(named, rows, left_out, threads, findings, partial)


def results_of(bench_run: BenchRun, test: Split, config: BenchConfig) -> dict[str, Any]:
    """The document that results.json holds, with the raw times as ``samples``, which go into a file of their own."""
    findings, rows, threads = bench_run.findings, bench_run.rows, bench_run.threads
    entries = compare(findings.timed(), test, config)
    balance = balance_of(findings.timed(), test, config.metric) if test.labels else None
    recommendation, contention = recommend(entries, balance, config.split), findings.watch.contention()
    failed, left_out = findings.failed, bench_run.left_out
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": bench_run.partial,
        "machine": describe_machine(threads),
        "settings": config.model_dump() | {"threads": threads, "resamples": RESAMPLES},
        "spin": brief_spin().get("GOMP_SPINCOUNT"),
        "test_texts": len(test.texts),
        "balance": balance,
        "models": entries,
        "recommendation": asdict(recommendation),
        "busy": asdict(contention) if contention else None,
        "warnings": timing_warnings(entries, recommendation.name, contention) + label_warnings(balance),
        "failed": [{"name": name, "path": str(rows[name].path), "reason": reason} for name, reason in failed.items()],
        "left_out": [
            {"name": name, "path": str(bench_run.named[name]), "reason": why} for name, why in left_out.items()
        ],
        "skipped": findings.skipped,
        "samples": findings.all_samples(threads[0]),
    }


def compare(measured: dict[str, Measured], test: Split, config: BenchConfig) -> list[dict[str, Any]]:
    """One entry of results.json for each model, compared with the first; without test labels accuracies are None."""
    first, average = next(iter(measured.values())), choose_average(measured)
    entries = []
    for name, judged in judge(measured, test, config.metric, config.seed).items():
        model = measured[name]
        change = judged["versus_first"] | _ratios(first, model, average)
        entries.append(_entry(name, model, average, config) | judged | {"versus_first": change})
    return entries


def _ratios(first: Measured, model: Measured, average: Average) -> dict[str, Any]:
    """How a model's speed and size compare with the first's, as a part of ``versus_first`` in results.json."""
    ratios: dict[str, Any] = {
        "speedup_p50": first.latency[0].p50_ms / model.latency[0].p50_ms,
        "speedup_ci95": _interval(first.rounds_ms, model.rounds_ms),
        "size_ratio": first.info.size_bytes / model.info.size_bytes,
    }
    ratios |= answer_speedup(first, model, average)
    any_cascade = any(each.info.hand_on_below is not None for each in (first, model))  # its times include tokenizers
    if first.one_thread_ms and model.one_thread_ms and not any_cascade:
        speedup = average_ms(first.one_thread_ms) / average_ms(model.one_thread_ms)
        interval = _interval(first.one_thread_ms, model.one_thread_ms)
        ratios["one_thread"] = {"speedup_p50": speedup, "speedup_ci95": interval}
    return ratios


def answer_speedup(first: Measured, model: Measured, average: Average) -> dict[str, Any]:
    """How many times as fast as the first the model goes from a text to its label; empty where that was not timed."""
    if not (first.answer_ms and model.answer_ms):
        return {}
    return {
        "speedup_answer": average_ms(first.answer_ms, average) / average_ms(model.answer_ms, average),
        "speedup_answer_ci95": _interval(first.answer_ms, model.answer_ms, average),
    }


def answer_times(model: Measured, average: Average) -> dict[str, Any]:
    """Median and mean from a text to its label with their intervals, and p95; None where it was not timed.

    ``answer_average`` says which of the two models are compared by.
    """
    rounds_ms = model.answer_ms
    if not rounds_ms:
        names = ("answer_p50_ms", "answer_p50_ci95", "answer_mean_ms", "answer_mean_ci95", "answer_p95_ms")
        return {"answer_average": average, **dict.fromkeys(names)}
    return {
        "answer_average": average,
        "answer_p50_ms": average_ms(rounds_ms),
        "answer_p50_ci95": average_interval(rounds_ms),
        "answer_mean_ms": average_ms(rounds_ms, "mean"),
        "answer_mean_ci95": average_interval(rounds_ms, "mean"),
        "answer_p95_ms": float(np.percentile(np.concatenate(rounds_ms), 95)),
    }


def _interval(first_ms: list[Times], other_ms: list[Times], average: Average = "p50") -> tuple[float, float] | None:
    """The 95% interval of a speed-up; None unless both models took part in the same rounds."""
    return speedup_interval(first_ms, other_ms, average) if 0 < len(first_ms) == len(other_ms) else None


def _priced(model: Measured, price_per_hour: float | None) -> dict[str, Any] | None:
    """The model's cost, with the price of a million texts if a rented machine answers at the model's best rate."""
    if model.cost is None:
        return None
    offline = [model.throughput.texts_per_s] if model.throughput else []
    side_by_side = [split.texts_per_s for split in model.splits]
    one_by_one = [latency.texts_per_s for latency in model.latency if latency.length == "real"]
    best = max(one_by_one + offline + side_by_side)
    price = None if price_per_hour is None else price_per_hour / 3600 / best * 1e6
    return asdict(replace(model.cost, price_per_million_texts=price))


def _handed_on(model: Measured) -> dict[str, Any] | None:
    """A cascade's least score with which its small model answers, and the share of texts that it hands on."""
    if model.info.hand_on_below is None:
        return None
    return {"hand_on_below": model.info.hand_on_below, "handed_on": len(model.handed_on) / len(model.logits)}


def _entry(name: str, model: Measured, average: Average, config: BenchConfig) -> dict[str, Any]:
    info, path = model.info, model.row.path
    int8 = path / INT8_GRAPH  # graphs of other programs lie elsewhere
    return {
        "name": name,
        "path": str(path),
        "backend": info.backend,
        "device": model.row.device,
        "provider": info.provider,
        "precision": info.precision,
        "activations": activations_of(operators(int8)) if info.precision == "int8" and int8.is_file() else None,
        "size_bytes": info.size_bytes,
        "parameters": info.parameters,
        "labels": list(info.labels),
        "cascade": _handed_on(model),
        **answer_times(model, average),
        "latency": [asdict(latency) for latency in model.latency],
        "throughput": asdict(model.throughput) if model.throughput else None,
        "served": asdict(model.served) if model.served else None,
        "instances": [asdict(split) for split in model.splits],
        "cost": _priced(model, config.price_per_hour),
        "history": list(read_manifest(path).history) if (path / MANIFEST).is_file() else [],
    }
