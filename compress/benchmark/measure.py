"""bench: every model's accuracy, latency and size, side by side."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.benchmark.compare import compare
from compress.benchmark.instances import cpu_splits
from compress.benchmark.protocol import Findings, check_reference, measure
from compress.benchmark.report.recommend import recommend
from compress.benchmark.rows import plan
from compress.benchmark.warnings import warnings_of
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.evaluation.metrics import RESAMPLES
from compress.machine import describe_machine, gpu_name, usable_cpus

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
    recommendation, contention = recommend(entries), findings.watch.contention()
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": partial,
        "machine": describe_machine(threads),
        "settings": config.model_dump() | {"threads": threads, "resamples": RESAMPLES},
        "test_texts": len(test.texts),
        "models": entries,
        "recommendation": asdict(recommendation),
        "busy": asdict(contention) if contention else None,
        "warnings": warnings_of(entries, recommendation.name, contention),
        "failed": [{"name": name, "path": str(rows[name].path), "reason": reason} for name, reason in failed.items()],
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
