"""Texts a second: over the whole test set, with texts that arrive at random, and in several processes side by side.

Texts that arrive at random and wait their turn are MLPerf's server scenario (Reddi et al. 2020), with one server.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from compress.benchmark.interleave import WorkerPool
from compress.benchmark.model_worker import ModelInfo, ModelWorker
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, Times
from compress.errors import CompressError
from compress.runtime.encoding import Text
from compress.workers.timing import calls_per_turn

_PASSES_AT_MOST = 3
_KEPT_UP = 0.9
_SERVED_STRETCHES, _SPLIT_STRETCHES = 2, 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """Texts that one server answered as they arrived, without a break."""

    times_ms: Times  # from arrival to answer, of each text that was answered
    took_s: float  # until the last answer
    arrivals_s: Times  # of every text


@dataclass(frozen=True, slots=True)
class Throughput:
    """Offline throughput of one process over the whole test set, in the median pass.

    The tokenizer is not included, except in a cascade, whose models have one each.

    ``batch_tokens`` is the most tokens in a batch of texts of like length, padding included; 1: one text at a time, as
    dynamic int8 is run, whose answers depend on the other texts of the batch.
    """

    texts_per_s: float
    texts: int
    threads: int
    passes_texts_per_s: tuple[float, ...]
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """Latencies of one server with ``threads``, from arrival to answer: waiting, tokenizer and model together.

    A server is ``overloaded`` if its queue grows without end, so that the latencies only show how long was measured:
    either not all arrivals were answered in twice their time, or fewer than 90% as many texts were answered a second as
    arrived and the last one still waited for longer than its answer took.
    """

    rate_per_s: float
    threads: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    answered_per_s: float
    overloaded: bool
    texts: int


@dataclass(frozen=True, slots=True)
class CpuSplit:
    """The CPUs split among ``instances`` processes of ``threads`` each, which all answer real texts one at a time.

    ``texts_per_s`` is that of all processes together, the median of the stretches; ``p50_ms`` and ``p95_ms`` are
    latencies of single texts.
    """

    instances: int
    threads: int
    texts_per_s: float
    p50_ms: float
    p95_ms: float
    stretches_texts_per_s: tuple[float, ...]


def measure_throughput(
    pool: WorkerPool, info: Mapping[str, ModelInfo], texts: Sequence[Text], budget_s: float
) -> dict[str, Throughput]:
    """Every model goes over all of ``texts``, in turns, one to three times, as the budget in seconds allows."""
    passes: dict[str, list[float]] = {worker.name: [] for worker in pool.workers}
    for number in range(_PASSES_AT_MOST):
        took_s = pool.each(ModelWorker.offline, number)
        passes = {name: [*passes[name], seconds] for name, seconds in took_s.items()}
        if max(sum(each) for each in passes.values()) * (number + 2) / (number + 1) > budget_s:
            break
    return {
        name: Throughput(
            texts_per_s=len(texts) / float(np.median(seconds)),
            texts=len(texts),
            threads=pool.threads,
            passes_texts_per_s=tuple(len(texts) / s for s in seconds),
            batch_tokens=info[name].batch_tokens,
        )
        for name, seconds in passes.items()
    }


def poisson_arrivals(rate_per_s: float, seconds: float, seed: int) -> Times:
    """The arrival times of a Poisson process in seconds, sorted, ``[n]``, at least one."""
    rng = np.random.default_rng(seed)
    n = max(1, int(rng.poisson(rate_per_s * seconds)))
    return np.sort(rng.random(n) * seconds)  # given how many there are, Poisson arrivals are uniform


def measure_served(pool: WorkerPool, rate_per_s: float, budget_s: float, seed: int) -> dict[str, Served]:
    """Every model answers the same Poisson arrivals in two stretches; models take turns and rest meanwhile."""
    stretches: dict[str, list[Stretch]] = {worker.name: [] for worker in pool.workers}
    for number in range(_SERVED_STRETCHES):
        arrivals_s = poisson_arrivals(rate_per_s, budget_s / _SERVED_STRETCHES, seed + number)
        served = pool.each(lambda worker, at=arrivals_s: worker.serve(at), number)  # type: ignore[misc]
        stretches = {
            name: [*stretches[name], Stretch(times_ms, s, arrivals_s)] for name, (times_ms, s) in served.items()
        }
    return {name: summarise_served(rate_per_s, pool.threads, each) for name, each in stretches.items()}


def summarise_served(rate_per_s: float, threads: int, stretches: Sequence[Stretch]) -> Served:
    """The figures of one server over several stretches."""
    times_ms = np.concatenate([stretch.times_ms for stretch in stretches])
    took_s = sum(stretch.took_s for stretch in stretches)
    p50_ms, p90_ms, p95_ms, p99_ms = np.percentile(times_ms, [50, 90, 95, 99]).tolist()
    cut_short = any(len(stretch.times_ms) < len(stretch.arrivals_s) for stretch in stretches)
    behind = sum(float(stretch.arrivals_s[-1]) for stretch in stretches) < _KEPT_UP * took_s
    overloaded = cut_short or (behind and all(map(_still_waits, stretches)))
    return Served(
        rate_per_s, threads, p50_ms, p90_ms, p95_ms, p99_ms, len(times_ms) / took_s, overloaded, len(times_ms)
    )


def _still_waits(stretch: Stretch) -> bool:
    """Whether the last text waited for the one before it for longer than its own answer took."""
    if len(stretch.times_ms) < 2:
        return False
    answered_ms = 1000 * stretch.arrivals_s + stretch.times_ms
    waited_ms = answered_ms[-2] - 1000 * stretch.arrivals_s[-1]
    return bool(waited_ms > answered_ms[-1] - answered_ms[-2])


def cpu_splits(instances: Sequence[int], cpus: int) -> list[tuple[int, int]]:
    """Pairs of a number of processes and the threads of each: an even share of the CPUs, rounded down."""
    for count in instances:
        if count > cpus:
            raise CompressError(f"bench.instances {count} is more than the {cpus} CPUs that this process may use")
    return [(count, cpus // count) for count in instances]


def measure_split(
    name: str, row: Row, instances: int, threads: int, texts: Sequence[Text], budget_s: float
) -> CpuSplit:
    """Time one split of one model, while nothing else of ours runs; WorkerError if a process refuses it or dies."""
    # After Ctrl-C the pool waits for its threads, and they wait for the processes, so the processes end first.
    with ThreadPoolExecutor(instances) as all_at_once, ExitStack() as processes:
        workers = [processes.enter_context(ModelWorker(name, row, threads)) for _ in range(instances)]
        list(all_at_once.map(ModelWorker.open, workers))
        slowest_ms = max(all_at_once.map(lambda worker: worker.prepare(REAL, texts), workers))
        stretch_s = budget_s / _SPLIT_STRETCHES
        # A process that stopped before the others would leave them more of the machine, so all go on for ``stretch_s``.
        calls = calls_per_turn(stretch_s, slowest_ms, 2, len(texts))
        rounds = [
            list(all_at_once.map(lambda worker: worker.turn(calls, stretch_s), workers))
            for _ in range(_SPLIT_STRETCHES)
        ]
    return summarise_split(instances, threads, rounds)


def summarise_split(instances: int, threads: int, stretches: Sequence[Sequence[Times]]) -> CpuSplit:
    """The figures from raw times in milliseconds, one array for each stretch and process."""
    rates = tuple(sum(1000 * len(times) / float(times.sum()) for times in stretch) for stretch in stretches)
    p50_ms, p95_ms = np.percentile(np.concatenate([times for each in stretches for times in each]), [50, 95]).tolist()
    return CpuSplit(instances, threads, float(np.median(rates)), p50_ms, p95_ms, rates)
