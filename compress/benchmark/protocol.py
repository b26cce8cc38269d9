"""The order in which everything is measured."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product

import numpy as np

from compress.benchmark.findings import Findings, Measured, check_models, check_reference, choose_average
from compress.benchmark.interleave import WorkerPool, take_turns
from compress.benchmark.model_worker import ModelInfo, ModelWorker
from compress.benchmark.rows import Row
from compress.benchmark.throughput import cpu_splits, measure_served, measure_split, measure_throughput
from compress.benchmark.workload import ANSWERS, REAL, Times, Workload
from compress.config import BenchConfig
from compress.data import Split
from compress.machine import usable_cpus
from compress.progress import Advance, progress, say
from compress.runtime.encoding import Text
from compress.workers.process import WorkerError

_TIMED_TEXTS = 512
_GPU_BATCHES, _GPU_LENGTH = (1, 8, 64, 256, 1024), 128


def measure(
    rows: Mapping[str, Row], test: Split, task: str, threads: list[int], config: BenchConfig, findings: Findings
) -> None:
    """Measure all ``rows``, one thread count after the other, into ``findings``, which stays whole after Ctrl-C."""
    first, *others = threads
    steps = max(1, round(config.seconds * len(rows)))
    total = len(threads) * (len(rows) + len(workloads_of(config)) * steps) + len(rows) * (1 + len(config.instances))
    with progress("bench", total=total) as advance:

        def time_each(pool: WorkerPool, workloads: Sequence[Workload], texts: Sequence[Text]) -> None:
            for workload in workloads:
                with _shares(advance, steps, f"{workload}, threads {pool.threads}") as share:
                    _time(pool, workload, texts, config, findings, share)

        with _opened(rows, first, findings, advance) as (pool, info):
            check_reference(rows, findings.failed)
            workloads = workloads_of(config, min(model.max_length for model in info.values()))
            check_models(info, test, task, config.metric, workloads)
            findings.measured = answer(pool, rows, info, test.texts, advance)
            check_reference(rows, findings.failed)
            texts = timed_texts(test, findings.measured, config.seed)
            with _shares(advance, steps, f"{REAL}, threads {first}") as share:
                _time_first(pool, texts, config, findings, share, test.texts)
            check_reference(rows, findings.failed)
            time_each(pool, workloads[1:], texts)
        for count in others:
            with _opened(rows, count, findings, advance) as (pool, _):
                time_each(pool, workloads, texts)
        if config.device == "cpu" and 1 not in threads and findings.watch.busy():
            _one_thread(rows, texts, config, findings)
        _side_by_side(texts, config, findings, advance)


@contextmanager
def _opened(
    rows: Mapping[str, Row], threads: int, findings: Findings, advance: Advance
) -> Iterator[tuple[WorkerPool, dict[str, ModelInfo]]]:
    """The models that have not failed, opened on ``threads`` threads each."""
    working = {name: row for name, row in rows.items() if name not in findings.failed}
    with WorkerPool(working, threads, findings.failed, findings.timed) as pool:
        yield pool, pool.each(ModelWorker.open, done=lambda name: advance(note=f"opened {name}"))


def timed_texts(test: Split, measured: Mapping[str, Measured], seed: int) -> list[Text]:
    """The texts that are timed, the same for every model, in an order drawn at random.

    The texts that the first cascade hands on lie among the others at even distances, so that any few texts in a row
    cost the cascade what all cost on average.
    """
    rows = np.random.default_rng(seed).permutation(len(test.texts))
    hard = np.isin(rows, next((model.handed_on for model in measured.values() if model.handed_on), []))
    places = np.empty(len(rows))
    for part in (hard, ~hard):
        places[part] = (np.arange(part.sum()) + 0.5) / max(1, part.sum())
    return [test.texts[row] for row in rows[np.argsort(places, kind="stable")][:_TIMED_TEXTS]]


def other_half(texts: Sequence[Text]) -> list[Text]:
    """The texts, second half first: a second process would otherwise time the same first few again."""
    return [*texts[len(texts) // 2 :], *texts[: len(texts) // 2]]


def _one_thread(rows: Mapping[str, Row], texts: Sequence[Text], config: BenchConfig, findings: Findings) -> None:
    """Time real texts with one thread too: several threads wait for the one that another process holds up."""
    say("bench: the machine is busy, so every model is timed with one thread as well")
    findings.one_thread_beside = True
    with _opened(rows, 1, findings, lambda *_, **__: None) as (pool, _):
        _time(pool, REAL, texts, config, findings, lambda _: None)


def answer(
    pool: WorkerPool,
    rows: Mapping[str, Row],
    info: Mapping[str, ModelInfo],
    texts: Sequence[Text],
    advance: Advance,
    *,
    only_timed: Collection[str] = (),
) -> dict[str, Measured]:
    """Let every model answer the first test text alone, which times its first answer, and then all texts.

    Models in ``only_timed`` answer the first text only.
    """
    pool.each(lambda worker: worker.first_answer(texts[0]))
    logits = pool.each(
        lambda worker: worker.logits(texts[:1] if worker.name in only_timed else texts),
        done=lambda name: advance(note=f"answered {name}"),
    )
    handed_on = pool.each(ModelWorker.handed_on)
    return {name: Measured(rows[name], info[name], logits[name], handed_on=hard) for name, hard in handed_on.items()}


def _time(
    pool: WorkerPool,
    workload: Workload,
    texts: Sequence[Text],
    config: BenchConfig,
    findings: Findings,
    share: Callable[[float], None],
) -> None:
    """Time one workload, and note the models that it was too much for."""
    average = choose_average(findings.measured)
    with findings.recorded(workload, pool.threads) as rounds_ms, findings.watch.timing(pool.sessions, pool.threads):
        take_turns(pool, workload, texts, config.seconds, share, rounds_ms, average)
    findings.skip(str(workload), pool.threads, pool.rested())


def _time_first(
    pool: WorkerPool,
    texts: Sequence[Text],
    config: BenchConfig,
    findings: Findings,
    share: Callable[[float], None],
    test_texts: Sequence[Text],
) -> None:
    """Time real texts on the first thread count, and in the middle of the time measure what each model has once.

    One process can be faster or slower by 2% for as long as it lives, so half the time goes to a second process.
    """
    measured, average = findings.measured, choose_average(findings.measured)
    with findings.recorded(REAL, pool.threads) as rounds_ms:
        with findings.watch.timing(pool.sessions, pool.threads):
            half = config.seconds / 2
            take_turns(pool, REAL, texts, half, lambda spent: share(spent / 2), rounds_ms, average)
        _measure_once(pool, measured, test_texts, config)
        with findings.watch.timing(pool.sessions, pool.threads):
            time_answers(pool, measured, texts, config.seconds / 4)
        pool.restart()
        texts = other_half(texts)
        with findings.watch.timing(pool.sessions, pool.threads):
            take_turns(pool, REAL, texts, config.seconds, share, rounds_ms, average)
            time_answers(pool, measured, texts, config.seconds / 4)
    findings.skip(str(REAL), pool.threads, pool.rested())


def _measure_once(
    pool: WorkerPool, measured: Mapping[str, Measured], texts: Sequence[Text], config: BenchConfig
) -> None:
    """Measure what each model has once: its cost, offline throughput, and latency under random arrivals."""
    for name, cost in pool.each(ModelWorker.cost).items():
        measured[name].cost = cost
    info = {name: model.info for name, model in measured.items()}
    for name, throughput in measure_throughput(pool, info, texts, config.seconds).items():
        measured[name].throughput = throughput
    if config.rate is not None:
        for name, served in measure_served(pool, config.rate, config.seconds, config.seed).items():
            measured[name].served = served


def time_answers(pool: WorkerPool, measured: Mapping[str, Measured], texts: Sequence[Text], seconds: float) -> None:
    """Time every model from a text to its label, in turns, and add the times to ``measured``."""
    rounds_ms: dict[str, list[Times]] = {}
    take_turns(pool, ANSWERS, texts, seconds, lambda _: None, rounds_ms, choose_average(measured))
    for name, rounds in rounds_ms.items():
        measured[name].answer_ms += rounds


def _side_by_side(texts: Sequence[Text], config: BenchConfig, findings: Findings, advance: Advance) -> None:
    """Time several processes of each model side by side, where the settings have ``instances``."""
    for name, model in findings.timed().items():
        for count, threads in cpu_splits(config.instances, usable_cpus()):
            try:
                # The workers have ended by then, and count as this process's children.
                with findings.watch.timing([], count * threads):
                    model.splits.append(measure_split(name, model.row, count, threads, texts, config.seconds))
            except WorkerError as failure:
                findings.skip(f"{count} instances", threads, {name: str(failure)})
            advance(note=f"{count} instances of {name}")


def workloads_of(config: BenchConfig, longest: int = _GPU_LENGTH) -> list[Workload]:
    """Real texts first, then the grid of batches and lengths; on a GPU there is one by default, up to ``longest``."""
    batches, lengths = config.batch, config.length
    if config.device == "cuda":
        batches, lengths = batches or list(_GPU_BATCHES), lengths or [min(longest, _GPU_LENGTH)]
    return [REAL, *(Workload(batch, length) for batch, length in product(batches, lengths))]


@contextmanager
def _shares(advance: Advance, steps: int, note: str) -> Iterator[Callable[[float], None]]:
    """Turn shares of a workload's budget into steps of the progress bar; an early end takes the rest at once."""
    done = 0

    def share(spent: float) -> None:
        nonlocal done
        reached = min(steps, int(steps * spent))
        if reached > done:
            advance(reached - done, note)
            done = reached

    yield share
    share(1.0)
