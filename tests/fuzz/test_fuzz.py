"""A few cases of each kind of what ``python -m tests.fuzz`` tries by the hundred thousand; and that it sees escapes."""

import os
import random
import signal
from pathlib import Path

import pytest

from tests.fuzz import tried
from tests.fuzz.kinds import KINDS

CASES = {"recipe": 60, "manifest": 150, "load": 60, "search": 50, "kept": 400}
OF_DATA = 100


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_a_refusal_in_one_line_escapes(kind: str, tmp_path: Path) -> None:
    for number in range(CASES.get(kind, OF_DATA)):
        escape = tried.one(kind, number, tmp_path)
        assert escape is None or escape[0] == tried.SLOW, (number, escape)  # how long it takes depends on the machine


def test_what_escapes_is_counted_by_type_also_if_it_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def case(rng: random.Random, _: Path) -> None:
        kind = rng.randrange(3)
        if kind == 1:
            raise OverflowError("a fault\nof ours")
        if kind == 2:
            os.kill(os.getpid(), signal.SIGFPE)

    monkeypatch.setattr(tried, "KINDS", {"own": case})
    kinds = [random.Random(f"own {number}").randrange(3) for number in range(20)]
    found = tried.tried("own", range(20))
    assert found.escapes == {"OverflowError": kinds.count(1), "SIGFPE": kinds.count(2)}
    assert found.first["OverflowError"][0] == kinds.index(1)
    assert found.first["SIGFPE"][0] == kinds.index(2)
    assert tried.tried("own", range(20), minutes=0).cases == 0
    assert tried._in_a_child("own", range(20), -1.0, tried.Found(), tmp_path) == 0  # the time was over at once
