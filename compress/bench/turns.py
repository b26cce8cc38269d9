"""Workers take turns in short rounds, order reversed every round, so that a drift of the machine hits all alike."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from compress.bench.client import Worker, WorkerFailedError
from compress.bench.latency import Load, Times, settled
from compress.errors import CompressError
from compress.runtime.encoding import Text

_SLOWEST_TURN_S = 0.3
_FASTEST_TURN_S = 0.1
_CALLS_A_TURN = (2, 64)
_ROUNDS_AT_LEAST = 6
_CHECK_GROWTH = 1.2

T = TypeVar("T")


class TurnsInterruptedError(KeyboardInterrupt):
    """Ctrl-C during the turns; ``rounds_ms`` are the whole rounds until then, as :func:`take_turns` returns them."""

    def __init__(self, rounds_ms: dict[str, list[Times]]) -> None:
        super().__init__()
        self.rounds_ms = rounds_ms


class Crew:
    """The workers of all models at one thread count; one that fails is noted in ``failed`` and left out."""

    def __init__(
        self,
        models: dict[str, Path],
        threads: int,
        device: str,
        failed: dict[str, str] | None = None,
        provider: str = "CPU",
    ) -> None:
        self.threads = threads
        self.failed = {} if failed is None else failed
        self.workers: list[Worker] = []
        try:
            for name, path in models.items():
                self.workers.append(Worker(name, path, threads, device, provider))
        except BaseException:
            self.close()
            raise

    def each(self, ask: Callable[[Worker], T], reverse: bool = False) -> dict[str, T]:
        """Ask the workers one after the other; the answers of those that gave one, by model, in the models' order."""
        answers: dict[str, T] = {}
        for worker in list(reversed(self.workers) if reverse else self.workers):
            try:
                answers[worker.name] = ask(worker)
            except WorkerFailedError as failure:
                self.failed[worker.name] = str(failure)
                self.workers.remove(worker)
                worker.close()
        if not self.workers:
            name, reason = next(iter(self.failed.items()))
            raise CompressError(f"no model could be measured; {name}: {reason}")
        return {worker.name: answers[worker.name] for worker in self.workers}

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take_turns(
    crew: Crew, load: Load, texts: Sequence[Text], budget_s: float, advance: Callable[[float], None]
) -> dict[str, list[Times]]:
    """Raw times in milliseconds of every model under one load, one array a round.

    All models get the same texts in the same order and the same rounds. A round is as many texts as the slowest
    model does in 0.3 s; a fast one goes over them again until it has worked for 0.1 s. The rounds end when every
    median is settled, or when the slowest model has spent ``budget_s``.

    Args:
        crew: The workers.
        load: What to time.
        texts: Where the load's texts or tokens come from.
        budget_s: Seconds for each model.
        advance: Told after each round which share of the budget is spent.

    Raises:
        TurnsInterruptedError: On Ctrl-C, with the rounds that were done.
    """
    slowest_ms = max(crew.each(lambda worker: worker.load(load, texts)).values())
    fewest, most = _CALLS_A_TURN
    calls = min(max(round(1000 * _SLOWEST_TURN_S / slowest_ms), fewest), most)
    rounds_ms: dict[str, list[Times]] = {worker.name: [] for worker in crew.workers}
    number, check_at = 0, float(_ROUNDS_AT_LEAST)
    while True:
        number += 1
        try:
            times_ms = crew.each(lambda worker: worker.turn(calls, _FASTEST_TURN_S), reverse=number % 2 == 0)
        except KeyboardInterrupt:
            raise TurnsInterruptedError(rounds_ms) from None
        rounds_ms = {name: [*rounds_ms[name], times] for name, times in times_ms.items()}
        spent_s = max(sum(float(times.sum()) for times in rounds) for rounds in rounds_ms.values()) / 1000
        advance(spent_s / budget_s)
        if number % 2 == 1:
            continue
        if spent_s >= budget_s:
            return rounds_ms
        if number >= check_at:
            if all(settled(rounds) for rounds in rounds_ms.values()):
                return rounds_ms
            # An interval costs as much as there are samples; this keeps all checks together cheap.
            check_at = number * _CHECK_GROWTH
