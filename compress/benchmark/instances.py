"""Several processes of one model side by side: how a machine's CPUs are best divided."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from compress.benchmark.backends.opening import Row
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.workload import REAL, Times
from compress.errors import CompressError
from compress.runtime.encoding import Text
from compress.workers.timing import calls_per_turn

_STRETCHES = 3


@dataclass(frozen=True, slots=True)
class CpuSplit:
    """Processes with some threads each, all answering real texts one at a time, at the same time.

    Attributes:
        instances: processes.
        threads: of each.
        texts_per_s: of all together, the median of three stretches.
        p50_ms: of a text.
        p95_ms: of a text.
        stretches_texts_per_s: of each stretch.
    """

    instances: int
    threads: int
    texts_per_s: float
    p50_ms: float
    p95_ms: float
    stretches_texts_per_s: tuple[float, ...]


def cpu_splits(instances: Sequence[int], cpus: int) -> list[tuple[int, int]]:
    """Each number of processes with the threads of one: an even share of the CPUs, rounded down."""
    for count in instances:
        if count > cpus:
            raise CompressError(f"bench.instances {count} is more than the {cpus} CPUs that this process may use")
    return [(count, cpus // count) for count in instances]


def measure_split(
    name: str, row: Row, instances: int, threads: int, texts: Sequence[Text], budget_s: float
) -> CpuSplit:
    """One split of one model by itself, while nothing else of ours runs.

    Raises:
        WorkerError: one of its processes refused the model or died.
    """
    with ExitStack() as ends, ThreadPoolExecutor(instances) as all_at_once:
        workers = [ends.enter_context(ModelWorker(name, row, threads)) for _ in range(instances)]
        list(all_at_once.map(ModelWorker.open, workers))
        slowest_ms = max(all_at_once.map(lambda worker: worker.prepare(REAL, texts), workers))
        stretch_s = budget_s / _STRETCHES
        # A process that ended a stretch early would leave the others more of the machine, so all go on until its end.
        calls = calls_per_turn(stretch_s, slowest_ms, 2, len(texts))
        rounds = [
            list(all_at_once.map(lambda worker: worker.turn(calls, stretch_s), workers)) for _ in range(_STRETCHES)
        ]
    return summarise_split(instances, threads, rounds)


def summarise_split(instances: int, threads: int, stretches: Sequence[Sequence[Times]]) -> CpuSplit:
    """The figures of raw times in milliseconds, one array a stretch and process."""
    rates = tuple(sum(1000 * len(times) / float(times.sum()) for times in stretch) for stretch in stretches)
    p50_ms, p95_ms = np.percentile(np.concatenate([times for each in stretches for times in each]), [50, 95]).tolist()
    return CpuSplit(instances, threads, float(np.median(rates)), p50_ms, p95_ms, rates)
