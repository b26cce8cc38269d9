"""A moment of what ``python -m tests.soak`` does for long, and its own arithmetic."""

import random

import pytest

from tests.soak.answers import Answers
from tests.soak.memory import Memory
from tests.soak.predictions import soak_predictions
from tests.soak.service import soak_service
from tests.tiny import STORED_RUN

INT8 = STORED_RUN / "int8"


def test_threads_that_share_a_model_get_right_answers() -> None:
    found = soak_predictions(INT8, predictions=800, threads=4)
    assert (found["wrong"], found["predictions"] >= 800) == (0, True)


def test_clients_that_leave_stall_and_flood_cost_nobody_an_answer() -> None:
    found = soak_service(INT8, minutes=0.02, real=False)
    assert (found["wrong"], found["failed"]) == (0, 0), found
    assert {what.partition(":")[0] for what in found["requests"]} == {"asked", "flooded", "left", "stalled"}
    assert found["requests"]["flooded: 200"] > 0
    assert found["requests"]["flooded: 503"] > 0


def test_a_wrong_answer_is_seen() -> None:
    answers = Answers.of(INT8)
    numbers = answers.draw(random.Random(0), 20)
    right = [answers.alone[number] for number in numbers]
    assert answers.wrong(numbers, right) == 0
    assert answers.wrong(numbers, right[1:]) == 20
    first, *others = right
    assert answers.wrong(numbers, [{name: score + 1e-3 for name, score in first.items()}, *others]) == 1


def test_a_leak_is_seen_through_noise() -> None:
    rng = random.Random(0)
    samples = [(float(work), 10**8 + 5_000 * work + rng.randrange(10**6)) for work in range(400)]
    found = Memory(0, samples).growth()
    assert found["slope_low_bytes"] < 5_000 < found["slope_high_bytes"]
    assert found["slope_bytes"] == pytest.approx(5_000, rel=0.2)
