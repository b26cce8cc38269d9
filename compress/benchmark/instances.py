"""Several processes of one model side by side: how a machine's CPUs are best shared out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from compress.benchmark.rows import Row
from compress.benchmark.workers.client import Worker
from compress.benchmark.workload import REAL, Times
from compress.errors import CompressError
from compress.runtime.encoding import Text

_STRETCHES = 3


@dataclass(frozen=True, slots=True)
class CpuSplit:
    """So many processes of so many threads each, all answering real texts one at a time, at the same time.

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
    """Processes and threads of each; an even share of the CPUs, rounded down, so that none is used twice."""
    for count in instances:
        if count > cpus:
            raise CompressError(f"bench.instances {count} is more than the {cpus} CPUs that this process may use")
    return [(count, cpus // count) for count in instances]


def measure_split(
    name: str, side: Row, instances: int, threads: int, texts: Sequence[Text], budget_s: float
) -> CpuSplit:
    """One split of one model by itself, while nothing else of ours runs.

    Raises:
        WorkerFailedError: one of its processes refused the model or died.
    """
    with ExitStack() as ends, ThreadPoolExecutor(instances) as all_at_once:
        workers = [ends.enter_context(Worker(name, side, threads)) for _ in range(instances)]
        list(all_at_once.map(Worker.opened, workers))
        slowest_ms = max(all_at_once.map(lambda worker: worker.load(REAL, texts), workers))
        stretch_s = budget_s / _STRETCHES
        # The next stretch goes on with the next texts; one that ends early would leave the others more room.
        calls = int(np.clip(1000 * stretch_s / slowest_ms, 2, len(texts)))
        rounds = [
            list(all_at_once.map(lambda worker: worker.turn(calls, stretch_s), workers)) for _ in range(_STRETCHES)
        ]
    return summarise_split(instances, threads, rounds)


def summarise_split(instances: int, threads: int, stretches: Sequence[Sequence[Times]]) -> CpuSplit:
    """The figures of raw times in milliseconds, one array a stretch and process."""
    rates = tuple(sum(1000 * len(times) / float(times.sum()) for times in stretch) for stretch in stretches)
    p50_ms, p95_ms = np.percentile(np.concatenate([times for each in stretches for times in each]), [50, 95]).tolist()
    return CpuSplit(instances, threads, float(np.median(rates)), p50_ms, p95_ms, rates)
