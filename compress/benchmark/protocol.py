"""The order in which everything is measured, and what is known when it ends early."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compress.benchmark.compare import Measured, all_labels
from compress.benchmark.contention import CpuWatch
from compress.benchmark.instances import cpu_splits, measure_split
from compress.benchmark.interleave import WorkerPool, take_turns
from compress.benchmark.rows import Row
from compress.benchmark.throughput import measure_served, measure_throughput
from compress.benchmark.workers.client import Opened, Worker, WorkerFailedError
from compress.benchmark.workload import REAL, Times, Workload, summarise
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.evaluation.metrics import choose_metric
from compress.machine import usable_cpus
from compress.progress import Advance, progress
from compress.runtime.encoding import Text
from compress.task import reads_pairs

if TYPE_CHECKING:
    from compress.data import Split

_TIMED_TEXTS = 512
_GPU_BATCHES, _GPU_LENGTH = (1, 8, 64, 256, 1024), 128

T = TypeVar("T")


@dataclass(slots=True)
class Findings:
    """What is known so far; Ctrl-C leaves it as it is."""

    measured: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    watch: CpuWatch = field(default_factory=CpuWatch)

    def timed(self) -> dict[str, Measured]:
        """The models that did not fail, with at least their first latency."""
        return {name: found for name, found in self.measured.items() if found.latency and name not in self.failed}

    def skip(self, load: Workload, threads: int, reasons: Mapping[str, str]) -> None:
        """Note the models that a load was too large for."""
        about = {"load": str(load), "threads": threads}
        self.skipped += [{"name": name, **about, "reason": reason} for name, reason in reasons.items()]

    @contextmanager
    def recorded(self, load: Workload, threads: int) -> Iterator[dict[str, list[Times]]]:
        """Keeps the figures of a load and the raw times that they come from, whatever ends the timing."""
        rounds_ms: dict[str, list[Times]] = {}
        try:
            yield rounds_ms
        finally:
            self._record(load, threads, rounds_ms)

    def _record(self, load: Workload, threads: int, rounds_ms: Mapping[str, list[Times]]) -> None:
        about = {"batch": load.batch, "length": load.length, "threads": threads}
        for name, rounds in rounds_ms.items():
            if rounds:
                model = self.measured[name]
                if not model.latency:
                    model.rounds_ms = rounds
                model.latency.append(summarise(load, threads, rounds))
                raw = [np.round(times, 4).tolist() for times in rounds]
                self.samples.append({"name": name, **about, "rounds_ms": raw})


def measure(
    sides: Mapping[str, Row],
    test: "Split",
    task: str,
    threads: list[int],
    config: BenchConfig,
    findings: Findings,
) -> None:
    """Measure all of ``sides``, one thread count after the other, into ``findings``.

    Raises:
        CompressError: see :func:`compress.bench.bench`.
        KeyboardInterrupt: on Ctrl-C; what was measured until then is in ``findings``.
    """
    loads = loads_of(config)
    texts = sample(test.texts, config.seed)
    load_steps = max(1, round(config.seconds * len(sides)))
    total = len(threads) * (len(sides) + len(loads) * load_steps) + len(sides) * (1 + len(config.instances))
    with progress("bench", total=total) as advance:
        for count in threads:
            living = {name: side for name, side in sides.items() if name not in findings.failed}
            with WorkerPool(living, count, findings.failed) as pool:
                opened = pool.each(_told(Worker.opened, advance, "opened"))
                check_reference(sides, findings.failed)
                if not findings.measured:
                    loads = loads_of(config, min(model.max_length for model in opened.values()))
                    _check(opened, test, task, loads)
                    known = len(all_labels(opened.values()))
                    choose_metric(config.metric, task if test.labels else opened[next(iter(opened))].task, known)
                    pool.each(lambda worker: worker.first_answer(test.texts[0]))
                    logits = pool.each(_told(lambda worker: worker.logits(test.texts), advance, "answered"))
                    check_reference(sides, findings.failed)
                    findings.measured = {name: Measured(sides[name], opened[name], logits[name]) for name in logits}
                for load in loads:
                    with (
                        _shares(advance, load_steps, f"{load}, threads {count}") as share,
                        findings.recorded(load, count) as rounds_ms,
                    ):
                        timing = partial(_turns, pool, load, texts, rounds_ms, findings.watch)
                        if load is REAL and count == threads[0]:
                            # One process alone can be faster or slower by 2% all its life, so half the time goes to
                            # a second one, and what is told once a model comes from the first.
                            timing(config.seconds / 2, lambda spent: share(spent / 2))
                            _more(pool, findings.measured, test, config)
                            pool.renew()
                        timing(config.seconds, share)
                    findings.skip(load, count, pool.rested())
        _side_by_side(texts, config, findings, advance)


def check_reference(sides: Mapping[str, Row], failed: Mapping[str, str]) -> None:
    """Refuse to go on, at whatever cost, without the model that the others are compared with."""
    first = next(iter(sides))
    if first in failed:
        raise CompressError(
            f"{sides[first].path}: the first model is the reference and cannot be measured ({failed[first]})"
        )


def _turns(
    pool: WorkerPool,
    load: Workload,
    texts: Sequence[Text],
    rounds_ms: dict[str, list[Times]],
    watch: CpuWatch,
    budget_s: float,
    share: Callable[[float], None],
) -> None:
    with watch.timing(pool.sessions):
        take_turns(pool, load, texts, budget_s, share, rounds_ms)


def _side_by_side(texts: Sequence[Text], config: BenchConfig, findings: Findings, advance: Advance) -> None:
    """Several processes of each model, where that is asked for."""
    for name, model in findings.timed().items():
        for count, threads in cpu_splits(config.instances, usable_cpus()):
            try:
                with findings.watch.timing([]):  # its workers have ended by then, and count as this process's children
                    model.splits.append(measure_split(name, model.side, count, threads, texts, config.seconds))
            except WorkerFailedError as failure:
                about = {"load": f"{count} instances", "threads": threads}
                findings.skipped.append({"name": name, **about, "reason": str(failure)})
            advance(note=f"{count} instances of {name}")


def _more(pool: WorkerPool, measured: dict[str, Measured], test: "Split", config: BenchConfig) -> None:
    """What is measured once a model, with the first thread count: costs, offline throughput, arrivals at random."""
    for name, account in pool.each(Worker.account).items():
        measured[name].account = account
    for name, throughput in measure_throughput(pool, test.texts, config.seconds).items():
        measured[name].throughput = throughput
    if config.rate is not None:
        for name, served in measure_served(pool, config.rate, config.seconds, config.seed).items():
            measured[name].served = served


def loads_of(config: BenchConfig, longest: int = _GPU_LENGTH) -> list[Workload]:
    """Real texts first, then the grid; a GPU, which batches are for, has one unless another is asked for.

    Args:
        config: bench's settings.
        longest: tokens that all models take.
    """
    batches, lengths = config.batch, config.length
    if config.device == "cuda":
        batches, lengths = batches or list(_GPU_BATCHES), lengths or [min(longest, _GPU_LENGTH)]
    return [REAL, *(Workload(batch, length) for batch, length in product(batches, lengths))]


def sample(texts: Sequence[Text], seed: int) -> list[Text]:
    """The texts that are timed, the same for every model, in a seeded order."""
    order = np.random.default_rng(seed).permutation(len(texts))[:_TIMED_TEXTS]
    return [texts[index] for index in order]


def _check(opened: dict[str, Opened], test: "Split", task: str, loads: Sequence[Workload]) -> None:
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
