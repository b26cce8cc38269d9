"""Workers take turns in short rounds, each round in another order, so that a drift of the machine hits all alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar

from compress.benchmark.rows import Row
from compress.benchmark.workers.client import DoesNotFitError, Worker, WorkerFailedError
from compress.benchmark.workload import Times, Workload, settled
from compress.errors import CompressError
from compress.runtime.encoding import Text

_SLOWEST_TURN_S = 0.3
_FASTEST_TURN_S = 0.05
_CALLS_A_TURN = (2, 64)
# A model against itself: where 6 calm rounds could end a run, every fourth was off by more than 3%.
_ROUNDS_AT_LEAST = 10
_CHECK_GROWTH = 1.2

T = TypeVar("T")


class WorkerPool:
    """The workers of all models at one thread count; one that fails is noted in ``failed`` and left out."""

    def __init__(self, sides: Mapping[str, Row], threads: int, failed: dict[str, str] | None = None) -> None:
        self.threads = threads
        self.failed = {} if failed is None else failed
        self.workers: list[Worker] = []
        self._resting: list[tuple[Worker, str]] = []
        self._order = list(sides)
        try:
            for name, side in sides.items():
                self.workers.append(Worker(name, side, threads))
        except BaseException:
            self.close()
            raise

    def each(self, ask: Callable[[Worker], T], number: int = 0) -> dict[str, T]:
        """Ask the workers one after the other; the answers of those that gave one, by model, in the models' order.

        Round ``number`` decides who comes first: the order turns round every other round and moves on by one after
        that, so that none is always in the middle, where the caches are another model's, or always at an end.
        """
        answers: dict[str, T] = {}
        for worker in in_turn(self.workers, number):
            try:
                answers[worker.name] = ask(worker)
            except DoesNotFitError as failure:
                self._resting.append((worker, str(failure)))
                self.workers.remove(worker)
            except WorkerFailedError as failure:
                self.failed[worker.name] = str(failure)
                self.workers.remove(worker)
                worker.close()
        if not self.workers and not self._resting:
            name, reason = next(iter(self.failed.items()))
            raise CompressError(f"no model could be measured; {name}: {reason}")
        return {worker.name: answers[worker.name] for worker in self.workers}

    def renew(self) -> None:
        """A fresh process for every model: how one lies in memory makes it faster or slower by a percent or two."""
        for place, worker in enumerate(self.workers):
            self.workers[place] = worker.again()
        self.each(Worker.opened)

    def rested(self) -> dict[str, str]:
        """Those that a batch did not fit come back, in fresh processes: their names, and why they were left out."""
        resting, self._resting = self._resting, []
        fresh = [worker.again() for worker, _ in resting]
        self.workers = sorted([*self.workers, *fresh], key=lambda worker: self._order.index(worker.name))
        if fresh:
            self.each(lambda worker: worker.opened() if worker in fresh else None)
        return {worker.name: reason for worker, reason in resting}

    @property
    def sessions(self) -> list[int]:
        """The process sessions of the workers."""
        return [worker.session for worker in self.workers]

    def close(self) -> None:
        for worker in [*self.workers, *(worker for worker, _ in self._resting)]:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_turn(workers: Sequence[T], number: int) -> list[T]:
    """The order of round ``number``: first as given, then reversed, then both again from the second on, and so on."""
    start = number // 2 % len(workers) if workers else 0
    order = [*workers[start:], *workers[:start]]
    return order[::-1] if number % 2 else order


def take_turns(
    pool: WorkerPool,
    load: Workload,
    texts: Sequence[Text],
    budget_s: float,
    advance: Callable[[float], None],
    rounds_ms: dict[str, list[Times]],
) -> None:
    """Add raw times in milliseconds of every model under one load to ``rounds_ms``, one array a round.

    All models get the same texts in the same order and the same rounds. A round is as many texts as the slowest
    model does in 0.3 s; a fast one goes over them again until it has worked for 0.05 s. The rounds end when every
    median and its ratio to the first model's is settled, or when the slowest model has spent ``budget_s``.

    Args:
        pool: The workers.
        load: What to time.
        texts: Where the load's texts or tokens come from.
        budget_s: Seconds for each model, those of the rounds that are there already included.
        advance: Told after each round which share of the budget is spent.
        rounds_ms: What is added to; holds whole rounds whenever this ends, by Ctrl-C too.
    """
    slowest_ms = max(pool.each(lambda worker: worker.load(load, texts)).values(), default=0.0)
    if not slowest_ms:  # it fits none
        return
    fewest, most = _CALLS_A_TURN
    calls = min(max(round(1000 * _SLOWEST_TURN_S / slowest_ms), fewest), most)
    number, check_at = 0, float(_ROUNDS_AT_LEAST)
    while True:
        number += 1
        times_ms = pool.each(lambda worker: worker.turn(calls, _FASTEST_TURN_S), number - 1)
        if not times_ms:
            return
        whole = {name: [*rounds_ms.get(name, []), times] for name, times in times_ms.items()}
        rounds_ms.clear()  # a model whose worker failed goes
        rounds_ms.update(whole)
        spent_s = max(sum(float(times.sum()) for times in rounds) for rounds in rounds_ms.values()) / 1000
        advance(spent_s / budget_s)
        if number % 2 == 1:
            continue
        if spent_s >= budget_s:
            return
        if number >= check_at:
            first_ms = next(iter(rounds_ms.values()))
            if all(settled(first_ms, each_ms) for each_ms in rounds_ms.values()):
                return
            # An interval costs as much as there are samples; this keeps all checks together cheap.
            check_at = number * _CHECK_GROWTH
