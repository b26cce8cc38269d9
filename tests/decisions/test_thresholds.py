"""Thresholds by label: the best F1 or the least that keeps a precision, found by trying every one."""

import numpy as np
import pytest

from compress.config import CalibrateConfig
from compress.decisions.calibrate import calibrate
from compress.decisions.thresholds import choose_thresholds
from compress.errors import CompressError
from compress.manifest_entries import NEVER
from compress.runtime.decision import probabilities

LABELS = ("common", "rare", "absent", "hopeless")


def drawn(texts: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, scores and truth: the second label is right too seldom for 0.5, the last at random."""
    rng = np.random.default_rng(0)
    true = rng.random((texts, 4)) < (0.4, 0.08, 0.0, 0.1)
    logits = (rng.normal(size=(texts, 4)) + true * (2.0, 2.5, 0.0, 0.0) - (1, 3, 2, 2)).astype(np.float32)
    return logits, probabilities(logits, multi_label=True), true


def precision(true: np.ndarray, said: np.ndarray) -> float:
    return float((true & said).sum() / said.sum())


def f1_score(true: np.ndarray, said: np.ndarray) -> float:
    return float(2 * (true & said).sum() / (true.sum() + said.sum()))


def test_the_best_f1_is_that_of_all_thresholds() -> None:
    _, scores, true = drawn()
    for place, found in enumerate(choose_thresholds(LABELS, scores, true, None)):
        if not true[:, place].any():
            assert (found.threshold, found.n, found.recall) == (0.5, 0, None)
            continue
        tried = [f1_score(true[:, place], scores[:, place] >= least) for least in np.unique(scores[:, place])]
        said = scores[:, place] >= found.threshold
        assert found.f1 == pytest.approx(f1_score(true[:, place], said)) == pytest.approx(max(tried))
        assert found.given == said.sum()
        assert np.abs(scores[:, place] - found.threshold).min() > 0  # halfway: no text is on the edge


def test_the_least_threshold_keeps_the_precision() -> None:
    _, scores, true = drawn()
    common, rare, absent, hopeless = choose_thresholds(LABELS, scores, true, 0.8)
    for place, found in enumerate((common, rare)):
        lower = [least for least in np.unique(scores[:, place]) if least < found.threshold]
        assert found.precision is not None
        assert precision(true[:, place], scores[:, place] >= found.threshold) == found.precision >= 0.8
        assert all(precision(true[:, place], scores[:, place] >= least) < 0.8 for least in lower[:-1])
    assert absent.threshold == 0.5
    if hopeless.threshold == NEVER:
        assert hopeless.best_precision is not None
        assert (hopeless.given, hopeless.best_precision < 0.8) == (0, True)


def test_what_is_unusual_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logits, scores, true = drawn()
    precise = choose_thresholds(LABELS, scores, true, 0.999)
    never = [one.label for one in precise if one.threshold == NEVER]
    found = calibrate(LABELS, "multi_label", logits, true.astype(np.float32), CalibrateConfig(min_precision=99.9))
    told = capsys.readouterr().err
    assert "no validation text has absent; the threshold stays 0.5" in told
    assert all(label in told for label in never)
    assert found.decision is not None
    assert found.decision["chosen_by"] == "precision of at least 99.9%"
    assert set(found.decision["thresholds"]) == set(LABELS)


def test_thresholds_raise_macro_f1_over_a_half_for_all() -> None:
    logits, _, true = drawn()
    found = calibrate(LABELS, "multi_label", logits, true.astype(np.float32), CalibrateConfig())
    assert found.metrics["validation_macro_f1"] > found.metrics["validation_macro_f1_at_half"] + 0.03
    assert calibrate(LABELS, "multi_label", logits, true, CalibrateConfig(thresholds="none")).decision is None


@pytest.mark.parametrize(
    ("task", "setting", "other"),
    [("multi_label", "max_error", "--min-precision"), ("pair_single_label", "min_precision", "--max-error")],
)
def test_a_setting_of_the_other_task_is_refused(task: str, setting: str, other: str) -> None:
    logits, _, true = drawn()
    with pytest.raises(CompressError, match=f"calibrate.{setting} is for .*{other}"):
        calibrate(LABELS, task, logits, true.astype(np.float32), CalibrateConfig.parse({setting: 5}))
