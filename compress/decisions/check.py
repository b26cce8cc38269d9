"""Check whether a new model may replace an old one: both answer the same test texts, as bench measures them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress.benchmark.findings import Measured, all_labels, check_models, choose_average
from compress.benchmark.interleave import WorkerPool
from compress.benchmark.judge import answers_of, balance_of, judge, right_answers
from compress.benchmark.measure import answer_speedup, answer_times
from compress.benchmark.model_worker import ModelInfo, ModelWorker
from compress.benchmark.protocol import answer, other_half, time_answers, timed_texts
from compress.benchmark.rows import plan, unique_names
from compress.benchmark.warnings import label_warnings
from compress.benchmark.workload import Average
from compress.config import BenchConfig, CheckConfig
from compress.data import Split
from compress.errors import CompressError
from compress.evaluation.comparison import is_within
from compress.evaluation.flips import flips_by_label
from compress.evaluation.metrics import wilson_interval
from compress.formatting import some
from compress.machine import describe_machine, usable_cpus
from compress.progress import progress

FORMAT_VERSION = 1


def check(new: Path, old: Path, test: Split, task: str, config: CheckConfig) -> dict[str, Any]:
    """Compare ``new`` with ``old`` on the ``test`` split of a ``task``, and hold the change to the config's limits.

    Returns:
        The document that ``--json`` writes: ``passed``, the ``checks`` with their values and limits, the ``old`` and
        the ``new`` model, the ``change`` between them, and the ``flips``. Shares are fractions.

    Raises:
        CompressError: the test texts have no labels, one of the models cannot be opened, or it has another task or
            other labels.
    """
    if not test.labels:
        raise CompressError("check needs test texts with labels; name a file of them with --test")
    measured = _measure(new, old, test, task, config)
    (first, other), names = measured.values(), list(measured)
    average = choose_average(measured)
    before, after = judge(measured, test, config.metric, config.seed).values()
    change = after["versus_first"] | {
        "ece_delta": after["accuracy"]["ece"] - before["accuracy"]["ece"],
        "size_ratio": first.info.size_bytes / other.info.size_bytes,
        **answer_speedup(first, other, average),
    }
    flips = _flips(after["flips"], measured, test)
    checks = _checks(change, flips, config)
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "passed": all(each["passed"] for each in checks),
        "checks": checks,
        "task": task,
        "test_texts": len(test.texts),
        "old": _described(names[0], first, before, average),
        "new": _described(names[1], other, after, average),
        "change": change,
        "flips": flips,
        "warnings": _warnings(change, config) + label_warnings(balance_of(measured, test, config.metric)),
        "machine": describe_machine([config.threads or usable_cpus()]),
        "settings": config.model_dump(),
    }


def _measure(new: Path, old: Path, test: Split, task: str, config: CheckConfig) -> dict[str, Measured]:
    """The answers of both models and, if the config asks for speed, their times; the old model comes first."""
    rows, left_out = plan(named := unique_names([old, new]), BenchConfig())
    for name, reason in left_out.items():
        raise CompressError(f"{named[name]}: cannot be checked, {reason}")
    failed: dict[str, str] = {}
    with WorkerPool(rows, config.threads or usable_cpus(), failed) as pool, progress("check", total=4) as advance:
        info = pool.each(ModelWorker.open, done=lambda name: advance(note=f"opened {name}"))
        _refuse_failed(failed, named)
        _refuse_other_labels(info, named)
        check_models(info, test, task, config.metric)
        measured = answer(pool, rows, info, test.texts, advance)
        _refuse_failed(failed, named)
        if config.speed:
            _time(pool, measured, test, config)
            _refuse_failed(failed, named)
    return measured


def _refuse_failed(failed: Mapping[str, str], named: Mapping[str, Path]) -> None:
    for name, reason in failed.items():
        path = str(named[name])
        raise CompressError(reason if reason.startswith(path) else f"{path}: cannot be checked ({reason})")


def _refuse_other_labels(info: Mapping[str, ModelInfo], named: Mapping[str, Path]) -> None:
    """Refuse models of different labels; their order may differ, since they are matched by name."""
    (first, other), (old, new) = ((set(model.labels) for model in info.values()), named.values())
    if first != other:
        added, dropped = (some(sorted(names)) or "none" for names in (other - first, first - other))
        raise CompressError(
            f"{new}: its labels are not those of {old}; only the new model has {added}, only the old one {dropped}; "
            "name the same labels alike in both (id2label)"
        )


def _time(pool: WorkerPool, measured: Mapping[str, Measured], test: Split, config: CheckConfig) -> None:
    """Time both models in turns from a text to its label; half of the time in a second process of each, as in bench."""
    texts = timed_texts(test, measured, config.seed)
    time_answers(pool, measured, texts, config.seconds / 2)
    pool.restart()
    time_answers(pool, measured, other_half(texts), config.seconds / 2)


def _flips(counted: Mapping[str, Any], measured: Mapping[str, Measured], test: Split) -> dict[str, Any]:
    labels = all_labels(model.info for model in measured.values())
    first, other = (answers_of(model, labels) for model in measured.values())
    task = next(iter(measured.values())).info.task
    share = counted["became_wrong"] / len(test.texts)
    return {
        "negative": counted["became_wrong"],
        "negative_share": share,
        "negative_ci95": wilson_interval(share, len(test.texts)),
        "positive": counted["became_right"],
        "by_label": [asdict(row) for row in flips_by_label(task, labels, first, other, right_answers(measured, test))],
        "texts": counted["texts"],
    }


def _checks(change: Mapping[str, Any], flips: Mapping[str, Any], config: CheckConfig) -> list[dict[str, Any]]:
    """The checks of the change against each limit; values and limits as fractions."""
    limits = [("drop", -change["accuracy_delta"], config.max_drop)]
    if config.max_negative_flips is not None:
        limits.append(("negative_flips", flips["negative_share"], config.max_negative_flips))
    return [
        {"name": name, "passed": bool(is_within(100 * value, limit)), "value": value, "limit": limit / 100}
        for name, value, limit in limits
    ]


def _warnings(change: Mapping[str, Any], config: CheckConfig) -> list[str]:
    """A warning where the loss keeps to the limit on these texts, but its interval does not."""
    largest = -100 * change["ci95"][0]
    if is_within(-100 * change["accuracy_delta"], config.max_drop) and not is_within(largest, config.max_drop):
        return [f"These texts cannot rule out a loss of {largest:.1f} points; check with more test texts to be sure."]
    return []


def _described(name: str, model: Measured, judged: Mapping[str, Any], average: Average) -> dict[str, Any]:
    info = model.info
    return {
        "name": name,
        "path": str(model.row.path),
        "backend": info.backend,
        "precision": info.precision,
        "size_bytes": info.size_bytes,
        "parameters": info.parameters,
        "accuracy": judged["accuracy"],
        **answer_times(model, average),
    }
