"""How calls are timed, in workers and elsewhere, and the order in which several models take turns."""

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from typing import Generic, TypeVar

import numpy as np

from compress.clock import CudaStopwatch, Stopwatch

_UNTIMED_CALLS = 3
_UNTIMED_S = 0.01
_STEADY = 1.05
_WARM_UP_INPUTS = 32
_WARM_UP_AT_MOST_S = 2.0

T = TypeVar("T")


class TimedCalls(Generic[T]):
    """Times ``call`` on each of ``inputs`` in turn, over and over; ``CudaStopwatch`` times a GPU's work."""

    def __init__(
        self, call: Callable[[T], object], inputs: Sequence[T], clock: type[Stopwatch | CudaStopwatch] = Stopwatch
    ) -> None:
        self._call, self._inputs, self._clock = call, inputs, clock
        self._next = 0

    def warm_up(self) -> float:
        """Call until the times no longer fall, for two seconds at most; the last pass's median in milliseconds.

        This is for processes that exist to be timed: the garbage collector never again visits the objects that exist
        now, so it does not fill the caches with them between two calls.
        """
        gc.collect()
        gc.freeze()
        block = self._block(min(_WARM_UP_INPUTS, len(self._inputs)))
        self._median_ms(block)  # a compiler may have worked for a minute, which must not count
        watch = Stopwatch()
        before_ms, last_ms = float("inf"), self._median_ms(block)
        while before_ms > last_ms * _STEADY and watch.seconds < _WARM_UP_AT_MOST_S:
            before_ms, last_ms = last_ms, self._median_ms(block)
        return last_ms

    def turn(
        self,
        calls: int,
        at_least_s: float = 0.0,
        during: AbstractContextManager[object] | None = None,
        first: int | None = None,
    ) -> list[float]:
        """Times in milliseconds of ``calls`` inputs, all of them repeated until ``at_least_s`` has passed.

        They begin with input number ``first`` (default: the one after the last turn's). ``during`` is entered for the
        timed calls alone, which follow some that are not timed.
        """
        self._next = self._next if first is None else first
        block = self._block(calls)
        self._next += calls
        self._wake(block)
        with during or nullcontext():
            watch = Stopwatch()
            times_ms = self._times_ms(block)
            while watch.seconds < at_least_s:
                times_ms += self._times_ms(block)
        return times_ms

    def _block(self, calls: int) -> list[T]:
        return [self._inputs[(self._next + step) % len(self._inputs)] for step in range(calls)]

    def _wake(self, block: list[T]) -> None:
        """Call untimed, at least 3 times and for 0.01 s: others had the CPU's caches, and threads may sleep."""
        watch = Stopwatch()
        for number, item in enumerate(cycle(reversed(block))):
            if number >= _UNTIMED_CALLS and watch.seconds > _UNTIMED_S:
                return
            self._call(item)

    def _median_ms(self, block: list[T]) -> float:
        """The median of the block's calls, or of those that fit into two seconds: large batches take long."""
        watch, times_ms = Stopwatch(), []
        for item in block:
            times_ms += self._times_ms([item])
            if watch.seconds > _WARM_UP_AT_MOST_S:
                break
        return float(np.median(times_ms))

    def _times_ms(self, block: list[T]) -> list[float]:
        times_ms = []
        gc.disable()
        try:
            for item in block:
                watch = self._clock()
                self._call(item)
                times_ms.append(watch.milliseconds)
        finally:
            gc.enable()
        return times_ms


def median_ms(call: Callable[[T], object], inputs: Sequence[T], calls: int) -> float:
    """The median time in milliseconds of ``calls`` calls after a warm-up."""
    timed = TimedCalls(call, inputs)
    timed.warm_up()
    return float(np.median(timed.turn(calls)))


def calls_per_turn(turn_s: float, call_ms: float, at_least: int, at_most: int) -> int:
    """How many calls of ``call_ms`` milliseconds fill a turn of ``turn_s`` seconds, within bounds."""
    return int(np.clip(round(1000 * turn_s / max(call_ms, 1e-3)), at_least, at_most))


def in_turn(members: Sequence[T], number: int) -> list[T]:
    """The order of round ``number``: as given, then reversed, then both again beginning with the second, and so on.

    So no member is always in the middle, where another's data fill the caches, or always at an end, and a drift of the
    machine hits all alike.
    """
    start = number // 2 % len(members) if members else 0
    order = [*members[start:], *members[:start]]
    return order[::-1] if number % 2 else order
