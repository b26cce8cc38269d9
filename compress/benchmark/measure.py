"""bench: every model's accuracy, latency and size, side by side."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.benchmark.compare import compare
from compress.benchmark.instances import cpu_splits
from compress.benchmark.machine_report import describe_machine, gpu_name
from compress.benchmark.protocol import Findings, check_reference, measure
from compress.benchmark.report.recommend import recommend
from compress.benchmark.rows import plan
from compress.benchmark.warnings import warnings_of
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.evaluation.intervals import RESAMPLES
from compress.machine import usable_cpus

if TYPE_CHECKING:
    from compress.data import Split


def bench(models: Sequence[Path], test: "Split", task: str, config: BenchConfig) -> dict[str, Any]:
    """Measure ``models`` on the ``test`` split of a ``task``; the first is the reference of every comparison.

    A later model that fails to load or whose process dies is listed under ``failed`` with its reason; the others are
    measured all the same. One that no backend asked for can run is ``left_out``, a batch that memory does not suffice
    for is ``skipped``; ``warnings`` say what speaks against the figures, first of all a busy machine. Test texts
    without labels leave accuracies out. Ctrl-C ends the measuring and returns what
    is known until then, ``partial``, if every model has been timed at least once.

    Returns:
        The document that results.json holds, and the raw times as ``samples``, which are written apart.

    Raises:
        CompressError: Without test texts, with a task or test label that is not a model's, for a length that a model
            cannot take, without the device, provider or backend that was asked for, for more instances than CPUs, for
            a path that is no folder, or if the first model could not be measured.
    """
    if not test.texts:
        raise CompressError("bench needs test texts and the data has none; name a file of them with --test")
    if config.device == "cuda" and gpu_name() is None:
        raise CompressError("bench.device is cuda, but no NVIDIA GPU is to be seen here; use --device cpu")
    for path in models:
        if not path.is_dir() and path.parent.is_dir():  # what has no such parent may be a hub id
            raise CompressError(f"{path}: no such folder; give folders of models")
    named = unique_names(models)
    sides, left_out = plan(named, config)
    cpu_splits(config.instances, usable_cpus())  # refused before anything is timed
    threads = config.threads or [usable_cpus()]
    findings, partial = Findings(), False
    try:
        measure(sides, test, task, threads, config, findings)
    except KeyboardInterrupt:
        if not findings.timed():
            raise
        partial = True
    check_reference(sides, findings.failed)
    failed = findings.failed
    entries = compare(findings.timed(), test, config)
    recommendation, busy = recommend(entries), findings.watch.busy()
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": partial,
        "machine": describe_machine(threads),
        "settings": config.model_dump() | {"threads": threads, "resamples": RESAMPLES},
        "test_texts": len(test.texts),
        "models": entries,
        "recommendation": asdict(recommendation),
        "busy": asdict(busy) if busy else None,
        "warnings": warnings_of(entries, recommendation.name, busy),
        "failed": [{"name": name, "path": str(sides[name].path), "reason": reason} for name, reason in failed.items()],
        "left_out": [{"name": name, "path": str(named[name]), "reason": why} for name, why in left_out.items()],
        "skipped": findings.skipped,
        "samples": findings.samples,
    }


def unique_names(models: Sequence[Path]) -> dict[str, Path]:
    """A name for each model folder: the folder's own, with its parent's or a number where two are equal."""
    if not models:
        raise CompressError("bench needs at least one model folder")
    named: dict[str, Path] = {}
    tails = [path.resolve().name for path in models]
    for path, tail in zip(models, tails, strict=True):
        wanted = tail if tails.count(tail) == 1 else f"{path.resolve().parent.name}/{tail}"
        copies = (wanted, *(f"{wanted} ({number})" for number in range(2, len(models) + 1)))
        named[next(name for name in copies if name not in named)] = path
    return named
