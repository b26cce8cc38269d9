"""bench: every model's accuracy, latency and size, side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compress.bench.accuracy import RESAMPLES
from compress.bench.client import Opened, Worker
from compress.bench.compare import Measured, all_labels, compare
from compress.bench.latency import REAL, Load, Times, summarise
from compress.bench.machine import describe_machine, gpu_name
from compress.bench.recommend import recommend
from compress.bench.throughput import measure_served, measure_throughput
from compress.bench.turns import Crew, TurnsInterruptedError, take_turns
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.machine import usable_cpus
from compress.metrics import choose_metric
from compress.progress import Advance, progress
from compress.runtime.encoding import Text
from compress.runtime.session import find_provider
from compress.task import reads_pairs

if TYPE_CHECKING:
    from compress.data import Split

_TIMED_TEXTS = 512

T = TypeVar("T")


@dataclass(slots=True)
class _Findings:
    """What is known so far; Ctrl-C leaves it as it is."""

    measured: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def timed(self) -> dict[str, Measured]:
        """The models that did not fail, with at least their first latency."""
        return {name: found for name, found in self.measured.items() if found.latency and name not in self.failed}

    def record(self, load: Load, threads: int, rounds_ms: dict[str, list[Times]]) -> None:
        """The figures of a load, and the raw times that they come from."""
        about = {"batch": load.batch, "length": load.length, "threads": threads}
        for name, rounds in rounds_ms.items():
            if rounds:
                self.measured[name].latency.append(summarise(load, threads, rounds))
                raw = [np.round(times, 4).tolist() for times in rounds]
                self.samples.append({"name": name, **about, "rounds_ms": raw})


def bench(models: Sequence[Path], test: "Split", task: str, config: BenchConfig) -> dict[str, Any]:
    """Measure ``models`` on the ``test`` split of a ``task``; the first is the reference of every comparison.

    A later model that fails to load or whose process dies is listed under ``failed`` with its reason; the others are
    measured all the same. Test texts without labels leave accuracies out. Ctrl-C ends the measuring and returns what
    is known until then, ``partial``, if every model has been timed at least once.

    Returns:
        The document that results.json holds, and the raw times as ``samples``, which are written apart.

    Raises:
        CompressError: Without test texts, with a task or test label that is not a model's, for a length that a model
            cannot take, without the device or provider that was asked for, for a path that is no folder, or if the
            first model could not be measured.
    """
    if not test.texts:
        raise CompressError("bench needs test texts and the data has none; name a file of them with --test")
    if config.device == "cuda" and gpu_name() is None:
        raise CompressError("bench.device is cuda, but no NVIDIA GPU is to be seen here; use --device cpu")
    find_provider(config.provider)  # whatever the models are: one that is not here would be left out in silence
    for path in models:
        if not path.is_dir() and path.parent.is_dir():  # what has no such parent may be a hub id
            raise CompressError(f"{path}: no such folder; give folders of models")
    named = unique_names(models)
    threads = config.threads or [usable_cpus()]
    findings, partial = _Findings(), False
    try:
        _measure(named, test, task, threads, config, findings)
    except KeyboardInterrupt:
        if not findings.timed():
            raise
        partial = True
    first, failed = next(iter(named)), findings.failed
    if first in failed:
        raise CompressError(
            f"{named[first]}: the first model is the reference and cannot be measured ({failed[first]})"
        )
    entries = compare(findings.timed(), test, config)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": partial,
        "machine": describe_machine(threads),
        "settings": config.model_dump() | {"threads": threads, "resamples": RESAMPLES},
        "test_texts": len(test.texts),
        "models": entries,
        "recommendation": asdict(recommend(entries)),
        "failed": [{"name": name, "path": str(named[name]), "reason": reason} for name, reason in failed.items()],
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


def _measure(
    named: dict[str, Path],
    test: "Split",
    task: str,
    threads: list[int],
    config: BenchConfig,
    findings: _Findings,
) -> None:
    """Measure one thread count after the other, into ``findings``."""
    loads = [REAL, *(Load(batch, length) for batch, length in product(config.batch, config.length))]
    texts = sample(test.texts, config.seed)
    load_steps = max(1, round(config.seconds * len(named)))
    with progress("bench", total=len(threads) * (len(named) + len(loads) * load_steps) + len(named)) as advance:
        for count in threads:
            living = {name: path for name, path in named.items() if name not in findings.failed}
            with Crew(living, count, config.device, findings.failed, config.provider) as crew:
                opened = crew.each(_told(Worker.opened, advance, "opened"))
                if not findings.measured:
                    _check(opened, test, task, loads)
                    choose_metric(  # refused before it is timed
                        config.metric,
                        task if test.labels else next(iter(opened.values())).task,
                        len(all_labels(opened.values())),
                    )
                    crew.each(lambda worker: worker.first_answer(test.texts[0]))
                    logits = crew.each(_told(lambda worker: worker.logits(test.texts), advance, "answered"))
                    findings.measured = {name: Measured(named[name], opened[name], logits[name]) for name in logits}
                for load in loads:
                    try:
                        with _shares(advance, load_steps, f"{load}, threads {count}") as share:
                            rounds_ms = take_turns(crew, load, texts, config.seconds, share)
                    except TurnsInterruptedError as stop:
                        findings.record(load, count, stop.rounds_ms)
                        raise
                    findings.record(load, count, rounds_ms)
                    if load is REAL and count == threads[0]:
                        _more(crew, findings.measured, test, config)


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
        fits = (
            task in (model.task, f"pair_{model.task}") if test.labels else reads_pairs(task) >= reads_pairs(model.task)
        )
        if not fits:
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
