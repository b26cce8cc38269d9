import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from compress.evaluation.flips import find_flips
from compress.evaluation.metrics import (
    calibration_error,
    confidence,
    measure_accuracy,
    measure_quality,
    predictions,
    truth,
)

LABELS = ("a", "b", "c")


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_no_mistakes_at_all_still_leave_room_for_some(metric: str) -> None:
    true = truth(np.arange(60) % 3, 3)
    low, high = measure_accuracy(metric, true, true, seed=0).ci95
    assert high == 1.0
    assert 0.9 < low < 0.96  # 0.940: Wilson's lower end for 60 of 60
    low, high = measure_accuracy(metric, np.roll(true, 1, axis=1), true, seed=0).ci95
    assert low == 0.0
    assert high > 0.04


def test_macro_f1_and_recall_are_sklearns() -> None:
    rng = np.random.default_rng(1)
    classes, logits = rng.integers(3, size=200), rng.normal(size=(200, 3))
    said = predictions("single_label", logits)
    quality = measure_quality(LABELS, said, truth(classes, 3), confidence("single_label", logits.astype(np.float32)))
    assert quality.macro_f1 == pytest.approx(f1_score(classes, logits.argmax(1), average="macro"))
    expected = recall_score(classes, logits.argmax(1), average=None)
    assert [each.recall for each in quality.recall] == pytest.approx(expected.tolist())
    assert sum(each.n for each in quality.recall) == 200


def test_a_label_without_test_texts_has_no_recall() -> None:
    true = truth(np.zeros(4, dtype=np.int64), 3)
    quality = measure_quality(LABELS, true, true, np.ones(4))
    assert [each.recall for each in quality.recall] == [1.0, None, None]


def test_calibration_error_is_the_gap_between_sureness_and_share_right() -> None:
    # Ten answers given at 0.9, seven of them right; ten at 0.55, six right.
    sureness = np.repeat([0.9, 0.55], 10)
    right = np.array([True] * 7 + [False] * 3 + [True] * 6 + [False] * 4)
    assert calibration_error(sureness, right) == pytest.approx(0.5 * 0.2 + 0.5 * 0.05)


def test_answers_right_as_often_as_they_are_sure_are_calibrated_and_sharper_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(20_000, 3)) * 2
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = (exact.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    right = logits.argmax(axis=1) == classes
    honest, sharper = (confidence("single_label", (scale * logits).astype(np.float32)) for scale in (1, 3))
    assert calibration_error(honest, right) < 0.01
    assert calibration_error(sharper, right) > 0.05


def test_sureness_of_a_multi_label_answer_is_of_what_was_said_of_each_label() -> None:
    assert confidence("multi_label", np.array([[0.0, 2.0, -2.0]], dtype=np.float32)) == pytest.approx(
        np.array([[0.5, 0.880797, 0.880797]])
    )


def test_flips_are_counted_and_new_mistakes_come_first() -> None:
    true = truth(np.array([0, 0, 0, 1]), 3)
    first, now = truth(np.array([0, 1, 0, 2]), 3), truth(np.array([0, 0, 1, 0]), 3)
    flips = find_flips(["same", "mended", "broken", ("one", "other")], LABELS, first, now, true)
    assert (flips.count, flips.became_wrong, flips.became_right) == (3, 1, 1)
    assert [flip.text for flip in flips.texts] == ["broken", "mended", "one | other"]
    assert (flips.texts[0].right, flips.texts[0].first, flips.texts[0].now) == (("a",), ("a",), ("b",))


def test_flips_are_capped_and_their_texts_cut() -> None:
    first, now = (truth(np.full(250, label), 3) for label in (0, 1))
    flips = find_flips(["word " * 1000] * 250, LABELS, first, now, None)
    assert (flips.count, flips.became_wrong, len(flips.texts)) == (250, None, 100)
    assert len(flips.texts[0].text) <= 303
