"""Calls are timed over the same inputs in the same order, and nobody is always first."""

import gc
import time
from collections import Counter

import pytest

from compress.workers.timing import TimedCalls, calls_per_turn, in_turn, median_ms


def test_every_turn_goes_on_with_the_next_inputs_or_begins_where_it_is_told() -> None:
    called: list[int] = []
    timed = TimedCalls(called.append, range(5))
    times_ms = [timed.turn(4), timed.turn(3)]
    assert [len(each) for each in times_ms] == [4, 3]
    assert called[-3:] == [4, 0, 1]
    timed.turn(2, first=1)
    assert called[-2:] == [1, 2]
    assert len(called) > 7  # calls that wake the threads come before those that are timed


def test_times_are_of_the_calls_alone() -> None:
    timed = TimedCalls(time.sleep, [0.02])
    assert min(timed.turn(3)) >= 20


def test_a_short_turn_is_repeated_as_a_whole() -> None:
    times_ms = TimedCalls(time.sleep, [0.001]).turn(4, at_least_s=0.05)
    assert len(times_ms) > 4
    assert len(times_ms) % 4 == 0
    assert sum(times_ms) < 1000


def test_what_is_entered_during_a_turn_sees_timed_calls_only() -> None:
    called: list[int] = []

    class Meter:
        def __enter__(self) -> None:
            called.clear()

        def __exit__(self, *_: object) -> None:
            called.append(-1)

    assert len(TimedCalls(called.append, [7, 8]).turn(3, during=Meter())) == 3
    assert called == [7, 8, 7, -1]


def test_the_collector_rests_in_timed_calls_and_works_afterwards() -> None:
    enabled: list[bool] = []
    timed = TimedCalls(lambda _: enabled.append(gc.isenabled()), [0])
    timed.warm_up()
    enabled.clear()
    timed.turn(3, during=None)
    assert enabled[-3:] == [False] * 3
    assert gc.isenabled()


def test_the_collector_works_again_after_a_call_that_failed() -> None:
    calls = iter(range(4))  # three that wake the threads, and one that is timed
    with pytest.raises(StopIteration):
        TimedCalls(lambda _: time.sleep(0.01 * next(calls) ** 0), [0]).turn(9)
    assert gc.isenabled()


def test_a_warm_up_ends_when_the_times_no_longer_fall() -> None:
    falling = iter([0.1, 0.08, 0.06, 0.04, 0.02])
    assert TimedCalls(lambda _: time.sleep(next(falling, 0.001)), [0]).warm_up() < 15
    assert next(falling, None) is None


def test_the_median_is_of_the_calls_after_the_warm_up() -> None:
    assert median_ms(lambda _: time.sleep(0.005), [0], 9) >= 5


@pytest.mark.parametrize(("call_ms", "calls"), [(10.0, 30), (1000.0, 2), (0.0, 64)])
def test_a_turn_holds_as_many_calls_as_fit(call_ms: float, calls: int) -> None:
    assert calls_per_turn(0.3, call_ms, 2, 64) == calls


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_everyone_is_first_and_last_equally_often(count: int) -> None:
    members = list(range(count))
    rounds = [in_turn(members, number) for number in range(2 * count)]
    assert all(sorted(each) == members for each in rounds)
    assert set(Counter(each[0] for each in rounds).values()) == {2}
    assert set(Counter(each[-1] for each in rounds).values()) == {2}
    assert in_turn([], 3) == []
