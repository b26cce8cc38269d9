"""What is kept of the times of a model: its ratio to the reference, of medians or of means."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.data import Split
from compress.tuning import judge
from compress.tuning.judge import ModelMeasurement, evaluate_try
from compress.tuning.record import TeacherTimes
from compress.tuning.tries import Try


def context_of(split: Split, labels: tuple[str, ...], metric: str, logits: np.ndarray) -> Any:
    """A search whose teacher answers ``logits``, and in int8 takes 4 ms in the median and 5 in the mean."""
    return SimpleNamespace(
        tries=Path("tries"),
        choosing=split,
        threads=1,
        watch=None,
        metric=metric,
        checkpoint=SimpleNamespace(labels=labels),
        data=SimpleNamespace(task="single_label"),
        times=TeacherTimes(20.0, 4.0, 5.0, 1.0),
        teacher_logits=lambda: (logits, logits[:0]),
    )


@pytest.mark.parametrize(("small", "expected_ms"), [("", 2.0), ("layers-1", 2.5)])
def test_a_cascade_is_scaled_mean_by_mean_and_others_median_by_median(
    small: str, expected_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, logits = Split(["a text", "another"], [("no",), ("yes",)]), np.eye(2, dtype=np.float32)
    measured = {
        "reference": ModelMeasurement(logits, 8.0, (8.0, 8.0), 8.0, 1.0),
        "model": ModelMeasurement(logits, 4.0, (3.2, 4.8), 4.0, 1.0),
    }
    monkeypatch.setattr(judge, "measure_in_turns", lambda *_, **__: measured)
    context = context_of(split, ("no", "yes"), "accuracy", logits)
    found = evaluate_try(context, Path("model"), Try("x", 0, small=small))
    assert found.ms == expected_ms
    assert found.ms_ci95 == pytest.approx((0.8 * expected_ms, 1.2 * expected_ms))


def test_f1_and_its_interval_are_of_the_same_label_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 texts 10 are "yes"; a model says so of 5 of them."""
    answers = np.array([0] * 5 + [1] * 35)
    right: list[tuple[str, ...]] = [(name,) for name in ["yes"] * 10 + ["no"] * 30]
    split = Split([str(row) for row in range(40)], right)

    def found(labels: tuple[str, str]) -> Try:
        logits = np.eye(2, dtype=np.float32)[answers if labels[0] == "yes" else 1 - answers]
        measured = {name: ModelMeasurement(logits, 8.0, (8.0, 8.0), 8.0, 1.0) for name in ("reference", "model")}
        monkeypatch.setattr(judge, "measure_in_turns", lambda *_, **__: measured)
        return evaluate_try(context_of(split, labels, "f1", logits), Path("model"), Try("x", 0))

    one, other = found(("yes", "no")), found(("no", "yes"))
    assert one.value == other.value == pytest.approx(2 / 3)
    assert one.value_ci95 == other.value_ci95
    assert one.value_ci95[0] < one.value < one.value_ci95[1]
