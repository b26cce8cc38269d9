"""Texts a second: offline, where only the whole test set counts, and online, where texts arrive at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compress.benchmark.arrivals import Served, poisson_arrivals, summarise_served
from compress.benchmark.interleave import WorkerPool
from compress.benchmark.model_worker import ModelInfo, ModelWorker
from compress.runtime.encoding import Text

_PASSES_AT_MOST = 3
_STRETCHES = 2


@dataclass(frozen=True, slots=True)
class Throughput:
    """Offline throughput over the whole test set; the tokenizer is not included.

    Attributes:
        texts_per_s: of the median pass.
        texts: in the test set.
        threads: CPU threads of the one process.
        passes_texts_per_s: of each pass over the test set.
        batch_tokens: what a batch of texts of like length held at most, padding included; 1: one text at a time, as
            dynamic int8 is run, whose answers depend on what shares the batch.
    """

    texts_per_s: float
    texts: int
    threads: int
    passes_texts_per_s: tuple[float, ...]
    batch_tokens: int


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


def measure_served(pool: WorkerPool, rate_per_s: float, budget_s: float, seed: int) -> dict[str, Served]:
    """Every model answers the same Poisson arrivals, in two stretches, in turns, while the others rest."""
    stretches: dict[str, list[tuple[np.ndarray, float, float]]] = {worker.name: [] for worker in pool.workers}
    for number in range(_STRETCHES):
        arrivals_s = poisson_arrivals(rate_per_s, budget_s / _STRETCHES, seed + number)
        served = pool.each(lambda worker, at=arrivals_s: worker.serve(at), number)  # type: ignore[misc]
        stretches = {name: [*stretches[name], (*found, float(arrivals_s[-1]))] for name, found in served.items()}
    return {name: summarise_served(rate_per_s, pool.threads, each) for name, each in stretches.items()}
