"""What is kept of the times of a model: its ratio to the reference, of medians or of means."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from compress.benchmark.warnings import CpuWatch
from compress.data import Split
from compress.tuning import judge
from compress.tuning.judge import Judge, Seen
from compress.tuning.tries import Try


@pytest.mark.parametrize(("hand_on_below", "expected_ms"), [(None, 2.0), (0.9, 2.5)])
def test_a_cascade_is_scaled_mean_by_mean_and_others_median_by_median(
    hand_on_below: float | None, expected_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, logits = Split(["a text", "another"], [("no",), ("yes",)]), np.eye(2, dtype=np.float32)
    seen = {
        "reference": Seen(logits, 8.0, (8.0, 8.0), 8.0, 1.0),
        "model": Seen(logits, 4.0, (3.2, 4.8), 4.0, 1.0),
    }
    monkeypatch.setattr(judge, "look", lambda *_, **__: seen)
    monkeypatch.setattr(judge, "peek", lambda _: SimpleNamespace(hand_on_below=hand_on_below))
    about = ("single_label", ("no", "yes"), "accuracy", logits)
    found = Judge(split, *about, 20.0, Path("reference"), 4.0, 5.0, 1, CpuWatch()).judged(Path("model"), Try("x", 0))
    assert found.ms == expected_ms
    assert found.ms_ci95 == pytest.approx((0.8 * expected_ms, 1.2 * expected_ms))


def test_f1_and_its_interval_are_of_the_same_label_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 texts 10 are "yes"; a model says so of 5 of them."""
    answers = np.array([0] * 5 + [1] * 35)
    right: list[tuple[str, ...]] = [(name,) for name in ["yes"] * 10 + ["no"] * 30]
    split = Split([str(row) for row in range(40)], right)

    def found(labels: tuple[str, str]) -> Try:
        logits = np.eye(2, dtype=np.float32)[answers if labels[0] == "yes" else 1 - answers]
        seen = {name: Seen(logits, 8.0, (8.0, 8.0), 8.0, 1.0) for name in ("reference", "model")}
        monkeypatch.setattr(judge, "look", lambda *_, **__: seen)
        about = ("single_label", labels, "f1", logits)
        return Judge(split, *about, 20.0, Path("a"), 4.0, 5.0, 1, CpuWatch()).judged(Path("b"), Try("x", 0))

    one, other = found(("yes", "no")), found(("no", "yes"))
    assert one.value == other.value == pytest.approx(2 / 3)
    assert one.value_ci95 == other.value_ci95
    assert one.value_ci95[0] < one.value < one.value_ci95[1]
