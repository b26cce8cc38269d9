import numpy as np
import pytest

from compress.evaluation.balance import measure_balance
from compress.evaluation.metrics import measure_accuracy, truth


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "f1"])
def test_always_is_what_a_model_with_one_answer_scores(metric: str) -> None:
    true = truth(np.array([0] * 19 + [1]), 2)
    constant = truth(np.zeros(20, dtype=np.int64), 2)
    found = measure_balance(metric, ("neg", "pos"), true)
    assert found.always == pytest.approx(measure_accuracy(metric, constant, true, seed=0).value)
    assert (found.most_frequent, found.share, found.lopsided) == (("neg",), 0.95, True)


def test_nine_tenths_are_not_yet_lopsided_and_absent_labels_are_named() -> None:
    found = measure_balance("accuracy", ("a", "b", "c"), truth(np.array([2] * 9 + [0]), 3))
    assert (found.most_frequent, found.lopsided, found.absent) == (("c",), False, ("b",))


def test_in_multi_label_tasks_an_answer_is_a_set_which_may_be_empty() -> None:
    true = np.zeros((20, 2), dtype=np.bool_)
    true[0] = True
    found = measure_balance("macro_f1", ("a", "b"), true)
    assert (found.most_frequent, found.always, found.lopsided, found.absent) == ((), 0.0, True, ())
