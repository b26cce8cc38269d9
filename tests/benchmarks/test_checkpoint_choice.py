"""The choice of a checkpoint by few texts, on answers whose truth is known."""

import numpy as np

from benchmarks.checkpoint_choice import compare, criteria


def test_each_criterion_orders_checkpoints_and_the_table_keeps_to_what_can_be() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 600)
    teacher = 3 * np.eye(3)[targets] + rng.normal(size=(600, 3))
    noises = (3.0, 2.0, 1.0, 2.5)  # of four checkpoints: the third is the best, the last is worse again
    student = np.stack([teacher + noise * rng.normal(size=teacher.shape) for noise in noises]).astype(np.float32)
    found = criteria(student, teacher.astype(np.float32), targets)
    for scores in found.values():
        assert scores.mean(axis=1).argmax() == 2
    for row in compare(found, 200, 0):
        worst, best = 100 * found["accuracy"].mean(axis=1).min(), row["best"]
        assert all(worst - 3 < row[name] <= best for name in (*found, "last"))
        assert row["divergence"] > row["last"] + 3  # also from few texts it sees that the last is not the best
    sizes = [row["validation_texts"] for row in compare(found, 5, 0)]
    assert sizes == [100, 200, 300]
