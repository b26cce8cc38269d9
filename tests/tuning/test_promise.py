"""The promise: what is said of a winner holds on texts that nobody has seen."""

import numpy as np
import pytest

from compress.data import Dataset, Split
from compress.evaluation.comparison import Agreement, compare_logits
from compress.tuning.promise import Promise, divided

LABELS = ("a", "b")
MODELS, CHOOSING, TESTS = 30, 300, 1000


def logits_of(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Answers that are ``right`` but where ``wrong`` says."""
    answers = np.where(wrong, 1 - right, right)
    return np.asarray(answers[:, None] == np.arange(2), dtype=np.float32)


def promise_of(metric: str, teacher: np.ndarray, model: np.ndarray, held: Split) -> Promise:
    targets = held.targets(LABELS, "single_label")
    return Promise(compare_logits(metric, "single_label", LABELS, teacher, model, targets), TESTS)


@pytest.mark.parametrize("texts", [30, 100, 300])
def test_the_interval_holds_the_loss_of_a_winner_picked_among_thirty(texts: int) -> None:
    held = 0
    optimistic = []
    worlds = 40
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        right = rng.integers(0, 2, CHOOSING + texts + TESTS)
        teacher = rng.random(len(right)) < 0.1
        models = [teacher ^ (rng.random(len(right)) < 0.05) for _ in range(MODELS)]
        choosing, back, test = np.split(np.arange(len(right)), [CHOOSING, CHOOSING + texts])
        chosen = min(models, key=lambda wrong: wrong[choosing].mean())
        split = Split([str(row) for row in range(texts)], [(LABELS[label],) for label in right[back]])
        before, after = (logits_of(right[back], wrong[back]) for wrong in (teacher, chosen))
        promise = promise_of("accuracy", before, after, split)
        loss = 100 * (chosen[test].mean() - teacher[test].mean())
        low, high = promise.on_test_ci95
        held += low <= loss <= high
        optimistic.append(loss - 100 * (chosen[choosing].mean() - teacher[choosing].mean()))
    assert held >= 0.9 * worlds
    assert np.mean(optimistic) > 1  # by the texts that it was picked by, the loss would be stated too low


def test_where_no_answer_changed_the_interval_has_a_width() -> None:
    same = logits_of(np.zeros(30, dtype=int), np.arange(30) < 3)
    split = Split([str(row) for row in range(30)], [("a",)] * 30)
    for metric in ("accuracy", "macro_f1"):
        promise = promise_of(metric, same, same, split)
        low, high = promise.change.drop_points_ci95
        assert low < -5 < 5 < high
        assert "it loses 0.0 points" in str(promise)


def test_a_gain_is_called_one_and_a_goal_is_missed_where_the_whole_interval_is_above_it() -> None:
    gained = Promise(Agreement(0.004, (0.0004, 0.01), 0.9, 1.0, "accuracy", 0.9, 0.904, 9), 9)
    assert "it gains 0.4 points (95% interval of the loss -1.0 to 0.0)" in str(gained)
    lost = Promise(Agreement(-0.026, (-0.038, -0.014), 0.95, 1.0, "accuracy", 0.9, 0.874, 1000), 1000)
    assert [bool(lost.missed_words(most)) for most in (1.0, 1.4, 2.0, None)] == [True, False, False, False]
    assert "2.6 points (95% interval of the loss 1.4 to 3.8), and at most 1 were allowed" in lost.missed_words(1.0)


def test_half_of_validation_is_held_back_and_repeated_texts_stay_together() -> None:
    texts = [f"text number {row // 2} of all" for row in range(200)]
    validation = Split(list(texts), [(LABELS[row % 2],) for row in range(200)])
    data = Dataset("single_label", LABELS, validation, validation, validation)
    choosing, held = divided(data)
    assert len(choosing) + len(held) == 200
    assert 80 <= len(held) <= 100
    assert not set(choosing.texts) & set(held.texts)
    assert divided(data) == (choosing, held)
