import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats.contingency import crosstab
from sklearn.metrics import f1_score

from compress.errors import CompressError
from compress.evaluation.comparison import compare_logits, mcnemar_p, measure_change
from compress.evaluation.flips import LabelFlips, flips_by_label
from compress.evaluation.metrics import (
    Indicators,
    choose_metric,
    measure_accuracy,
    positive_column,
    predictions,
    score,
    training_metric,
    truth,
    wilson_interval,
)
from compress.manifest_entries import NEVER
from compress.runtime.decision import Decision, probabilities

RNG = np.random.default_rng(0)


def one_hot(classes: np.ndarray, labels: int = 3) -> Indicators:
    return truth(classes, labels)


def flawed(true: Indicators, share_right: float, rng: np.random.Generator) -> Indicators:
    right = rng.random(len(true)) < share_right
    return np.where(right[:, None], true, np.roll(true, 1, axis=1))


def plain_f1(true: Indicators, said: Indicators) -> float:
    """F1 of each label, and their mean; scikit-learn's own takes milliseconds."""
    return float(np.mean(2 * (true & said).sum(axis=0) / (true.sum(axis=0) + said.sum(axis=0))))


def test_score_is_sklearns() -> None:
    logits = RNG.normal(size=(200, 7))
    several = RNG.random((200, 7)) < 0.2
    several[:, 3] = False  # a label never right, and said at times
    single = RNG.integers(7, size=200)
    assert score("accuracy", logits, single) == pytest.approx(np.mean(logits.argmax(1) == single))
    exact = ((logits > 0) == several).all(1).mean()
    assert score("accuracy", logits, several.astype(np.float32)) == pytest.approx(exact)
    expected = f1_score(several, logits > 0, average="macro", zero_division=0)
    assert score("macro_f1", logits, several.astype(np.float32)) == pytest.approx(expected)
    expected = f1_score(single, logits.argmax(1), average="macro", labels=range(7), zero_division=0)
    assert score("macro_f1", logits, single) == pytest.approx(expected)


@pytest.mark.parametrize("labels", [("0", "1"), ("1", "0"), ("yes", "no")])
def test_f1_is_sklearns_of_the_second_label_in_sorted_order(labels: tuple[str, str]) -> None:
    rng = np.random.default_rng(6)
    targets = (rng.random(300) < 0.7).astype(np.int64)
    logits = rng.normal(size=(300, 2)) + np.eye(2)[targets]
    names = np.array(labels)
    expected = f1_score(names[targets], names[logits.argmax(1)], pos_label=max(labels))
    assert score("f1", logits, targets, positive=positive_column(labels)) == pytest.approx(expected)


def test_f1_interval_is_the_plain_bootstraps() -> None:
    rng = np.random.default_rng(7)
    true = one_hot((rng.random(150) < 0.7).astype(np.int64), 2)
    said = flawed(true, 0.8, rng)
    draws = [rng.integers(150, size=150) for _ in range(1000)]
    plain = np.percentile([plain_f1(true[rows, 1], said[rows, 1]) for rows in draws], [2.5, 97.5])
    found = measure_accuracy("f1", said, true, seed=0)
    assert found.value == pytest.approx(f1_score(true[:, 1], said[:, 1]))
    assert found.ci95 == pytest.approx(plain, abs=0.01)


def test_f1_is_refused_where_there_are_not_two_labels_to_choose_from() -> None:
    for task, labels in [("single_label", 3), ("multi_label", 2), ("pair_multi_label", 2)]:
        with pytest.raises(CompressError, match=rf"two labels, this one has {labels}.*use accuracy or macro_f1"):
            choose_metric("f1", task, labels)
    assert choose_metric("f1", "pair_single_label", 2) == "f1"
    with pytest.raises(CompressError, match="two labels"):
        score("f1", np.zeros((4, 3)), np.zeros(4, dtype=np.int64))
    with pytest.raises(CompressError, match="two labels"):
        score("f1", np.zeros((4, 2)), np.zeros((4, 2), dtype=np.float32))


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_wish_for_a_metric_goes_before_the_tasks_own(task: str) -> None:
    assert {choose_metric(wanted, task, 5) for wanted in ("accuracy", "macro_f1")} == {"accuracy", "macro_f1"}


def test_label_never_seen_nor_said_has_f1_zero() -> None:
    logits, targets = np.array([[1.0, -1.0]] * 4), np.array([[1.0, 0.0]] * 4, dtype=np.float32)
    assert score("macro_f1", logits, targets) == 0.5


def test_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(CompressError, match=r"'f2'.*accuracy, macro_f1"):
        score("f2", np.zeros((1, 2)), np.zeros(1, dtype=np.int64))


@pytest.mark.parametrize("task", ["single_label", "pair_single_label", "multi_label", "pair_multi_label"])
def test_task_decides_metric_and_predictions(task: str) -> None:
    multi = "multi" in task
    found = predictions(task, np.array([[1.0, 2.0, -1.0]]))
    assert found.tolist() == [[multi, True, False]]
    assert choose_metric(None, task, 3) == ("macro_f1" if multi else "accuracy")


@pytest.mark.parametrize("thresholds", [None, (0.25, 0.5, 0.0, NEVER)])
def test_a_label_is_counted_where_it_is_given(thresholds: tuple[float, ...] | None) -> None:
    """From its threshold on, also at and around the threshold itself, and where a score is rounded to it."""
    edges = [0.0, -1e-9, 1e-9, -1e-3, 1e-3, float(np.log(1 / 3)), -40.0, 200.0]
    logits = np.array([[edge] * 4 for edge in edges], dtype=np.float32)
    names = ("a", "b", "c", "d")
    scores = [dict(zip(names, row, strict=True)) for row in probabilities(logits, multi_label=True).tolist()]
    given = [Decision(thresholds).applies("a", row, "multi_label")[0] for row in scores]
    counted = predictions("multi_label", logits, thresholds)
    assert [[name in labels for name in names] for labels in given] == counted.tolist()


@pytest.mark.parametrize(("texts", "share"), [(100, 0.8), (445, 0.97), (872, 0.9), (3080, 0.93)])
def test_accuracy_interval_covers_the_truth(texts: int, share: float) -> None:
    """Every number of right answers that a test set may have, weighed by its probability: no simulation needed."""
    right = np.arange(texts + 1)
    chance = binom.pmf(right, texts, share)
    held = [low <= share <= high for low, high in (wilson_interval(count / texts, texts) for count in right)]
    assert 0.93 <= chance[held].sum() <= 0.97


def test_accuracy_gets_that_interval() -> None:
    true = one_hot(RNG.integers(3, size=300))
    found = measure_accuracy("accuracy", flawed(true, 0.85, RNG), true, seed=0)
    assert found.ci95 == wilson_interval(found.value, 300)


def test_macro_f1_interval_is_the_plain_bootstraps() -> None:
    rng = np.random.default_rng(4)
    true = rng.random((150, 4)) < 0.3
    said = true ^ (rng.random((150, 4)) < 0.1)
    draws = [rng.integers(150, size=150) for _ in range(1000)]
    assert plain_f1(true, said) == pytest.approx(f1_score(true, said, average="macro"))
    plain = np.percentile([plain_f1(true[rows], said[rows]) for rows in draws], [2.5, 97.5])
    assert measure_accuracy("macro_f1", said, true, seed=0).ci95 == pytest.approx(plain, abs=0.01)


def test_same_seed_same_interval() -> None:
    true = one_hot(RNG.integers(3, size=100))
    said = flawed(true, 0.8, RNG)
    one, two, other = (measure_accuracy("macro_f1", said, true, seed).ci95 for seed in (1, 1, 2))
    assert one == two
    assert one != other


@pytest.mark.parametrize(("metric", "labels"), [("accuracy", 3), ("macro_f1", 3), ("f1", 2)])
def test_the_same_answers_are_no_change_but_chance_is_left(metric: str, labels: int) -> None:
    true = one_hot(RNG.integers(labels, size=100), labels)
    said = flawed(true, 0.8, RNG)
    change = measure_change(metric, said, said, true, seed=0)
    assert (change.accuracy_delta, change.agreement, change.mcnemar_p) == (0.0, 1.0, 1.0)
    assert -0.1 < change.ci95[0] < 0 < change.ci95[1] < 0.1  # on other texts it might lose or gain some


def test_paired_change_is_seen_where_two_separate_intervals_overlap() -> None:
    rng = np.random.default_rng(5)
    true = one_hot(rng.integers(3, size=400))
    first = flawed(true, 0.8, rng)
    other = first.copy()
    mended = np.flatnonzero((first != true).any(axis=1))[:12]
    other[mended] = true[mended]
    change = measure_change("accuracy", first, other, true, seed=0)
    assert change.accuracy_delta == pytest.approx(12 / 400)
    assert 0 < change.ci95[0] < 12 / 400 < change.ci95[1]
    assert change.agreement == pytest.approx(1 - 12 / 400)
    separate = [measure_accuracy("accuracy", said, true, seed=0).ci95 for said in (first, other)]
    assert separate[0][1] > separate[1][0]


def test_mcnemar_is_the_exact_test() -> None:
    first, other = RNG.random(200) < 0.8, RNG.random(200) < 0.7
    table = crosstab(first, other).count
    # Two-sided exact binomial, written out: twice the smaller tail, at most 1.
    fewer, both = min(table[0, 1], table[1, 0]), table[0, 1] + table[1, 0]
    assert mcnemar_p(first, other) == pytest.approx(min(1.0, 2 * binom.cdf(fewer, both, 0.5)))
    assert mcnemar_p(first, first) == 1.0


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_the_interval_of_many_rare_labels_holds_the_value_that_it_is_of(wrong: float) -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(77), 2)
    answers = np.where(rng.random(len(targets)) < wrong, rng.integers(0, 77, len(targets)), targets)
    true, first, other = truth(targets, 77), truth(targets, 77), truth(answers, 77)
    found = measure_accuracy("macro_f1", other, true, seed=0)
    assert found.ci95[0] <= found.value <= found.ci95[1]
    change = measure_change("macro_f1", first, other, true, seed=0)
    assert change.ci95[0] <= change.accuracy_delta <= change.ci95[1]


def test_the_metric_of_a_history_is_that_of_its_last_training() -> None:
    history = [
        {"step": "finetune", "metrics": {"validation_accuracy": 0.9}},
        {"step": "prune", "metrics": {"validation_f1": 0.8, "validation_f1_before": 0.9}},
        {"step": "export", "metrics": {"max_logit_difference": 1e-6}},
    ]
    assert [training_metric(history[:count]) for count in (0, 1, 2, 3)] == [None, "accuracy", "f1", "f1"]


def test_a_changed_metric_is_called_by_its_name() -> None:
    targets = np.array([[1, 0], [0, 1]], dtype=np.float32)
    found = compare_logits("macro_f1", "multi_label", ("a", "b"), targets - 0.5, targets - 0.5, targets)
    assert str(found).startswith("macro-F1 100.00 to 100.00 ")


def test_flips_count_under_the_texts_own_label() -> None:
    true = truth(np.array([0, 0, 1, 2]), 3)
    first, other = (truth(np.array(answers), 3) for answers in ([0, 0, 1, 1], [0, 1, 2, 2]))
    counted = flips_by_label("single_label", ("a", "b", "c"), first, other, true)
    assert counted == (LabelFlips("a", 2, 1, 0), LabelFlips("b", 1, 1, 0), LabelFlips("c", 1, 0, 1))


def test_flips_of_many_labels_count_what_is_missed_and_what_is_falsely_said() -> None:
    true = np.array([[True, False], [True, True]])
    first, other = np.array([[True, False], [False, True]]), np.array([[False, True], [True, True]])
    counted = flips_by_label("multi_label", ("a", "b"), first, other, true)
    assert counted == (LabelFlips("a", 2, 1, 1), LabelFlips("b", 1, 1, 0))
