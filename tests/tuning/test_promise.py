"""The promise: what is said of a winner holds on texts that nobody has seen."""

import numpy as np

from compress.data import Dataset, Split
from compress.tuning.promise import divided, promise_of

LABELS = ("a", "b")
MODELS, TEXTS, TESTS = 30, 600, 1000


def logits_of(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Answers that are ``right`` but where ``wrong`` says."""
    answers = np.where(wrong, 1 - right, right)
    return np.asarray(answers[:, None] == np.arange(2), dtype=np.float32)


def test_the_interval_holds_the_loss_of_a_winner_picked_among_thirty() -> None:
    held = 0
    optimistic = []
    worlds = 40
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        right = rng.integers(0, 2, TEXTS + TESTS)
        teacher = rng.random(len(right)) < 0.1
        models = [teacher ^ (rng.random(len(right)) < 0.05) for _ in range(MODELS)]
        choosing, back, test = slice(0, 300), slice(300, TEXTS), slice(TEXTS, None)
        chosen = min(models, key=lambda wrong: wrong[choosing].mean())
        split = Split([str(row) for row in range(300)], [(LABELS[label],) for label in right[back]])
        before, after = (logits_of(right[back], wrong[back]) for wrong in (teacher, chosen))
        promise = promise_of("accuracy", "single_label", LABELS, before, after, split, TESTS)
        loss = 100 * (chosen[test].mean() - teacher[test].mean())
        low, high = promise.on_test_ci95
        held += low <= loss <= high
        optimistic.append(loss - 100 * (chosen[choosing].mean() - teacher[choosing].mean()))
    assert held >= 0.9 * worlds
    assert np.mean(optimistic) > 1  # by the texts that it was picked by, the loss would be stated too low


def test_half_of_validation_is_held_back_and_repeated_texts_stay_together() -> None:
    texts = [f"text number {row // 2} of all" for row in range(200)]
    validation = Split(list(texts), [(LABELS[row % 2],) for row in range(200)])
    data = Dataset("single_label", LABELS, validation, validation, validation)
    choosing, held = divided(data)
    assert len(choosing) + len(held) == 200
    assert 80 <= len(held) <= 100
    assert not set(choosing.texts) & set(held.texts)
    assert divided(data) == (choosing, held)
