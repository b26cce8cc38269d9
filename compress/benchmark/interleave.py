"""Workers take turns in short rounds, each round in another order, so that a drift of the machine hits all alike."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self, TypeVar

from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.rows import Row
from compress.benchmark.workload import ANSWERS, REAL, Average, Times, Workload, settled
from compress.errors import CompressError
from compress.runtime.encoding import Text
from compress.workers.process import WorkerError
from compress.workers.timing import calls_per_turn, in_turn

_SLOWEST_TURN_S = 0.3
_FASTEST_TURN_S = 0.05
_CALLS_AT_LEAST, _CALLS_AT_MOST = 2, 64
# With 6, every fourth comparison of a model with itself was off by more than 3%.
_ROUNDS_AT_LEAST = 10
_CHECK_GROWTH = 1.2

T = TypeVar("T")


class WorkerPool:
    """The workers of all models at one thread count; a worker that fails is noted in ``failed`` and left out.

    A worker that fails under a workload of a fixed shape, or whose model is among those ``timed`` by then, only rests
    until :meth:`rested`: what was measured of its model stays.
    """

    def __init__(
        self,
        rows: Mapping[str, Row],
        threads: int,
        failed: dict[str, str] | None = None,
        timed: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.threads = threads
        self.failed = {} if failed is None else failed
        self._timed = timed
        self.workers: list[ModelWorker] = []
        self._resting: list[tuple[ModelWorker, str]] = []
        self._order = list(rows)
        try:
            for name, row in rows.items():
                self.workers.append(ModelWorker(name, row, threads))
        except BaseException:
            self.close()
            raise

    def each(
        self, ask: Callable[[ModelWorker], T], number: int = 0, done: Callable[[str], None] | None = None
    ) -> dict[str, T]:
        """Ask the workers one after the other; the answers by model, in the models' order, without workers that fail.

        The round's ``number`` decides who comes first; ``done`` is called with the model's name after each worker,
        whether it answered or failed.
        """
        answers: dict[str, T] = {}
        for worker in in_turn(self.workers, number):
            try:
                answers[worker.name] = ask(worker)
            except WorkerError as failure:
                self.workers.remove(worker)
                if worker.workload not in (REAL, ANSWERS) or worker.name in self._timed():
                    self._resting.append((worker, str(failure)))
                else:
                    self.failed[worker.name] = str(failure)
                    worker.close()
            if done is not None:
                done(worker.name)
        if not self.workers and not self._resting:
            name, reason = next(iter(self.failed.items()))
            raise CompressError(f"no model could be measured; {name}: {reason}")
        return {worker.name: answers[worker.name] for worker in self.workers}

    def restart(self) -> None:
        """Start a fresh process for every model: where a process lies in memory makes it faster or slower by 1-2%."""
        for place, worker in enumerate(self.workers):
            self.workers[place] = worker.restarted()
        self.each(ModelWorker.open)

    def rested(self) -> dict[str, str]:
        """Take back, in fresh processes, the models that failed under the last workload; why each failed, by name."""
        resting, self._resting = self._resting, []
        fresh = [worker.restarted() for worker, _ in resting]
        self.workers = sorted([*self.workers, *fresh], key=lambda worker: self._order.index(worker.name))
        if fresh:
            self.each(lambda worker: worker.open() if worker in fresh else None)
        return {worker.name: reason for worker, reason in resting}

    @property
    def sessions(self) -> list[int]:
        """The process sessions of the workers."""
        return [worker.session for worker in self.workers]

    def close(self) -> None:
        """End every worker."""
        for worker in [*self.workers, *(worker for worker, _ in self._resting)]:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take_turns(
    pool: WorkerPool,
    workload: Workload,
    texts: Sequence[Text],
    budget_s: float,
    advance: Callable[[float], None],
    rounds_ms: dict[str, list[Times]],
    average: Average = "p50",
) -> None:
    """Add raw times in milliseconds of every model under one workload to ``rounds_ms``, one array a round.

    All models get the same texts in the same order and the same rounds. A round is as many texts as the slowest model
    does in 0.3 s; a fast one goes over them again until it has worked for 0.05 s, except where the ``average`` is the
    mean: then every text counts once, since a cascade would repeat only the rounds that it hands nothing on from. The
    rounds end when every average and its ratio to the first model's is settled, or when the slowest model has spent
    ``budget_s``, including the rounds that ``rounds_ms`` already holds; it holds whole rounds whenever this ends, by
    Ctrl-C too. ``advance`` is called after each round with the share of the budget that is spent.
    """
    slowest_ms = max(pool.each(lambda worker: worker.prepare(workload, texts)).values(), default=0.0)
    if not slowest_ms:  # it fits no model
        return
    calls = calls_per_turn(_SLOWEST_TURN_S, slowest_ms, _CALLS_AT_LEAST, _CALLS_AT_MOST)
    at_least_s = 0.0 if average == "mean" else _FASTEST_TURN_S
    number, check_at = 0, float(_ROUNDS_AT_LEAST)
    while True:
        number += 1
        times_ms = pool.each(lambda worker: worker.turn(calls, at_least_s), number - 1)
        if not times_ms:
            return
        rounds_so_far = {name: [*rounds_ms.get(name, []), times] for name, times in times_ms.items()}
        rounds_ms.clear()  # a model whose worker failed is dropped
        rounds_ms.update(rounds_so_far)
        spent_s = max(sum(float(times.sum()) for times in rounds) for rounds in rounds_ms.values()) / 1000
        advance(spent_s / budget_s)
        if number % 2 == 1:
            continue
        if spent_s >= budget_s:
            return
        if number >= check_at:
            first_ms = next(iter(rounds_ms.values()))
            if all(settled(first_ms, model_ms, average) for model_ms in rounds_ms.values()):
                return
            # An interval costs as much as there are samples; this keeps all checks together cheap.
            check_at = number * _CHECK_GROWTH
