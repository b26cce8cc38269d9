"""bench: every model's accuracy, latency and size, side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compress.bench.accuracy import RESAMPLES
from compress.bench.client import Opened, Worker
from compress.bench.compare import Measured, all_labels, compare
from compress.bench.latency import REAL, Load, summarise
from compress.bench.machine import describe_machine, gpu_name
from compress.bench.recommend import recommend
from compress.bench.throughput import measure_served, measure_throughput
from compress.bench.turns import Crew, take_turns
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.machine import usable_cpus
from compress.metrics import choose_metric
from compress.progress import Advance, progress
from compress.runtime.encoding import Text

if TYPE_CHECKING:
    from compress.data import Split

_TIMED_TEXTS = 512

T = TypeVar("T")


def bench(models: Sequence[Path], test: "Split", task: str, config: BenchConfig) -> dict[str, Any]:
    """Measure ``models`` on the ``test`` split of a ``task``; the first is the reference of every comparison.

    A later model that fails to load or whose process dies is listed under ``failed`` with its reason; the others are
    measured all the same.

    Returns:
        The document that results.json holds.

    Raises:
        CompressError: Without test texts, with a task or test label that is not a model's, for a length that a model
            cannot take, without the device that was asked for, for a path that is no folder, or if the first model
            could not be measured.
    """
    if not test.texts:
        raise CompressError("bench needs labelled test texts and the data has none; name a file of them with --test")
    if config.device == "cuda" and gpu_name() is None:
        raise CompressError("bench.device is cuda, but no NVIDIA GPU is to be seen here; use --device cpu")
    for path in models:
        if not path.is_dir() and path.parent.is_dir():  # what has no such parent may be a hub id
            raise CompressError(f"{path}: no such folder; give folders of models")
    named = unique_names(models)
    threads = config.threads or [usable_cpus()]
    measured, failed = _measure(named, test, task, threads, config)
    first = next(iter(named))
    if first in failed:
        raise CompressError(
            f"{named[first]}: the first model is the reference and cannot be measured ({failed[first]})"
        )
    entries = compare(measured, test, config)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(threads),
        "settings": config.model_dump() | {"threads": threads, "resamples": RESAMPLES},
        "models": entries,
        "recommendation": asdict(recommend(entries)),
        "failed": [{"name": name, "path": str(named[name]), "reason": reason} for name, reason in failed.items()],
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


def _measure(
    named: dict[str, Path], test: "Split", task: str, threads: list[int], config: BenchConfig
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measure one thread count after the other; the models that failed come with their reasons."""
    loads = [REAL, *(Load(batch, length) for batch, length in product(config.batch, config.length))]
    texts = sample(test.texts, config.seed)
    measured: dict[str, Measured] = {}
    failed: dict[str, str] = {}
    load_steps = max(1, round(config.seconds * len(named)))
    with progress("bench", total=len(threads) * (len(named) + len(loads) * load_steps) + len(named)) as advance:
        for count in threads:
            with Crew({name: named[name] for name in named if name not in failed}, count, config.device) as crew:
                opened = crew.each(_told(Worker.opened, advance, "opened"))
                if not measured:
                    _check(opened, test, task, loads)
                    choose_metric(config.metric, task, len(all_labels(opened.values())))  # refused before it is timed
                    crew.each(lambda worker: worker.first_answer(test.texts[0]))
                    logits = crew.each(_told(lambda worker: worker.logits(test.texts), advance, "answered"))
                    measured = {name: Measured(named[name], opened[name], logits[name]) for name in logits}
                for load in loads:
                    with _shares(advance, load_steps, f"{load}, threads {count}") as share:
                        rounds_ms = take_turns(crew, load, texts, config.seconds, share)
                    for name, rounds in rounds_ms.items():
                        measured[name].latency.append(summarise(load, count, rounds))
                    if load is REAL and count == threads[0]:
                        _more(crew, measured, test, config)
                failed |= crew.failed
    return {name: found for name, found in measured.items() if name not in failed}, failed


def _more(crew: Crew, measured: dict[str, Measured], test: "Split", config: BenchConfig) -> None:
    """What is measured once a model, with the first thread count: costs, offline throughput, arrivals at random."""
    for name, account in crew.each(Worker.account).items():
        measured[name].account = account
    for name, throughput in measure_throughput(crew, test.texts, config.seconds).items():
        measured[name].throughput = throughput
    if config.rate is not None:
        for name, served in measure_served(crew, config.rate, config.seconds, config.seed).items():
            measured[name].served = served


def sample(texts: Sequence[Text], seed: int) -> list[Text]:
    """The texts that are timed, the same for every model, in a seeded order."""
    order = np.random.default_rng(seed).permutation(len(texts))[:_TIMED_TEXTS]
    return [texts[index] for index in order]


def _check(opened: dict[str, Opened], test: "Split", task: str, loads: Sequence[Load]) -> None:
    wanted = {label for labels in test.labels for label in labels}
    for name, model in opened.items():
        # A checkpoint that is not ours does not say whether it reads pairs, so only ours can be held to it.
        if task not in (model.task, f"pair_{model.task}"):
            raise CompressError(f"{name} is a {model.task} model, the data is {task}; give data that it was made for")
        if unknown := sorted(wanted - set(model.labels)):
            known = ", ".join(model.labels)
            raise CompressError(f"{name} does not know the label {unknown[0]!r} of the test split; it has {known}")
        longest = max((load.length for load in loads if load.length != "real"), default=0)
        if longest > model.max_length:
            raise CompressError(f"bench.length {longest} is more than the {model.max_length} tokens that {name} takes")


def _told(ask: Callable[[Worker], T], advance: Advance, did: str) -> Callable[[Worker], T]:
    """``ask``, with a step on the bar after each worker, whether it answers or fails."""

    def ask_and_tell(worker: Worker) -> T:
        try:
            return ask(worker)
        finally:
            advance(note=f"{did} {worker.name}")

    return ask_and_tell


@contextmanager
def _shares(advance: Advance, steps: int, note: str) -> Iterator[Callable[[float], None]]:
    """Turns shares of a load's budget into steps on the bar; what an early end leaves over is taken at once."""
    done = 0

    def share(spent: float) -> None:
        nonlocal done
        now = min(steps, int(steps * spent))
        if now > done:
            advance(now - done, note)
            done = now

    yield share
    share(1.0)
