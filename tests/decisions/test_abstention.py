"""The bound on the error of what is answered: it holds in simulations, and what cannot be shown is told."""

import re

import numpy as np
import pytest
from scipy.stats import beta

from compress.config import CalibrateConfig
from compress.decisions.abstention import candidates, choose_abstention, texts_needed
from compress.decisions.calibrate import calibrate
from compress.errors import CompressError
from compress.evaluation.metrics import Floats
from compress.evaluation.selective import measure_selection, risk_coverage
from compress.quantization.temperature import FittedTemperature, fit_temperature

SCORES = np.linspace(0, 1, 20_001)
# The chance of a mistake at a score: calibrated; too sure; worst in the middle, so that the risk does not only rise.
CHANCES: dict[str, Floats] = {
    "calibrated": (1 - SCORES) / 2,
    "too sure": 0.04 + 0.5 * (1 - SCORES) ** 2,
    "not in order": np.where((SCORES > 0.7) & (SCORES < 0.9), 0.2, 0.02),
}


def risk_at(chances: Floats, level: float) -> float:
    """Of all texts with such scores or higher, which are spread evenly, the share of mistakes."""
    return float(chances[level <= SCORES].mean())


@pytest.mark.parametrize("count", [400, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CHANCES)
def test_the_stated_risk_holds_in_at_least_95_of_100_simulations(case: str, count: int) -> None:
    rng, chances, max_error = np.random.default_rng(0), CHANCES[case], 0.1
    kept, chosen = [], 0
    for _ in range(count):
        drawn = rng.integers(0, len(SCORES), 1200)
        scores, right = SCORES[drawn], rng.random(1200) >= chances[drawn]
        levels = candidates(scores[:400], right[:400], max_error, 800)
        try:
            found = choose_abstention(levels, scores[400:], right[400:], max_error)
        except CompressError:  # nothing is promised
            kept.append(True)
        else:
            kept.append(risk_at(chances, found.abstain_below) <= max_error)
            chosen += 1
    assert np.mean(kept) >= 0.95
    assert chosen > count / 2  # and not because it hardly ever promises anything


def test_what_is_chosen_answers_nearly_as_much_as_is_allowed() -> None:
    """On many texts the bound is close to the truth: a risk of 10% is reached where the score is 0.6."""
    rng, chances = np.random.default_rng(1), CHANCES["calibrated"]
    drawn = rng.integers(0, len(SCORES), 30_000)
    scores, right = SCORES[drawn], rng.random(30_000) >= chances[drawn]
    levels = candidates(scores[:10_000], right[:10_000], 0.1, 20_000)
    found = choose_abstention(levels, scores[10_000:], right[10_000:], 0.1)
    assert 0.6 <= found.abstain_below <= 0.68
    assert found.coverage == pytest.approx(1 - found.abstain_below, abs=0.01)
    assert found.error < 0.1 < found.error_bound + 0.01
    wrong = round(found.error * found.coverage * 20_000)
    assert found.error_bound == pytest.approx(
        beta.ppf(0.95, wrong + 1, round(found.coverage * 20_000) - wrong), rel=1e-6
    )


def test_where_all_may_be_answered_nothing_is_held_back() -> None:
    rng = np.random.default_rng(2)
    scores, right = rng.random(900), np.ones(900, dtype=np.bool_)
    found = choose_abstention(candidates(scores[:300], right[:300], 0.02, 600), scores[300:], right[300:], 0.02)
    assert (found.abstain_below, found.coverage, found.error) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(("max_error", "needed"), [(0.01, 299), (0.05, 59), (0.2, 14)])
def test_the_number_of_texts_is_the_least_that_can_show_the_bound(max_error: float, needed: int) -> None:
    assert texts_needed(max_error) == needed
    assert (1 - max_error) ** needed <= 0.05 < (1 - max_error) ** (needed - 1)


def drawn(texts: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 3, texts)
    return rng.normal(size=(texts, 3)).astype(np.float32) + skill * np.eye(3, dtype=np.float32)[targets], targets


def test_too_few_texts_are_told_how_many_are_needed() -> None:
    logits, targets = drawn(447, 5)
    config = CalibrateConfig(max_error=1)
    with pytest.raises(CompressError, match=r"needs at least 448 validation texts.*got 447"):
        calibrate(("a", "b", "c"), "single_label", logits, targets, config)
    logits, targets = drawn(448, 20)  # and with so many, none of them wrong, it can be shown
    assert calibrate(("a", "b", "c"), "single_label", logits, targets, config).decision


def test_scores_that_are_calibrated_already_are_left_alone() -> None:
    """On few texts a fit moves towards less sure: it stays away where it makes the labels no likelier."""

    def fitted(logits: np.ndarray, **settings: float) -> FittedTemperature:
        config = CalibrateConfig.parse(settings)
        return calibrate(("a", "b", "c"), "single_label", logits, targets, config, fitted_before=True).temperature

    logits, targets = drawn(448, 20)
    found = fitted(logits, max_error=1)
    assert (found.temperature, found.nll_after) == (1.0, found.nll_before)
    found = fitted(5 * drawn(448, 1)[0])
    assert found.temperature > 2
    assert found.nll_after < found.nll_before


def test_a_model_that_is_right_on_all_texts_is_not_made_certain_of_everything() -> None:
    """Its labels are likeliest at the lowest temperature, so their likelihood must not judge the fit."""
    logits, targets = drawn(448, 20)
    assert (logits.argmax(axis=1) == targets).all()
    found = calibrate(("a", "b", "c"), "single_label", logits, targets, CalibrateConfig()).temperature
    assert found.temperature == fit_temperature(logits, targets, "single_label").temperature > 1.5


def test_a_bound_out_of_reach_is_told_with_one_above_it_though_a_level_that_is_not_tested_has_one_below() -> None:
    confidences, right = np.repeat([0.9, 0.4], [100, 1000]), np.arange(1100) >= 10
    assert choose_abstention(np.array([0.0]), confidences, right, 0.05).error_bound < 0.05
    with pytest.raises(CompressError, match=r"max_error 5 cannot be shown.* even of the surest 9% ") as why:
        choose_abstention(np.array([0.5, 0.0]), confidences, right, 0.05)
    told = re.search(r"up to ([\d.]+)%", str(why.value))
    assert told is not None
    assert 5 < float(told[1]) == pytest.approx(100 * beta.ppf(0.95, 11, 90), abs=0.01)


def test_coverage_and_risk_are_counted_and_the_curve_ends_at_all_texts() -> None:
    confidences, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    found = measure_selection(confidences, right, 0.7)
    assert (found.coverage, found.answered) == (0.75, 3)
    assert found.risk == pytest.approx(1 / 3)
    assert found.risk_ci95 is not None
    assert found.risk_ci95[0] < 1 / 3 < found.risk_ci95[1]
    assert measure_selection(confidences, right, 0.95).risk is None
    assert risk_coverage(confidences, right) == [(0.25, 0.0), (0.5, 0.5), (0.75, pytest.approx(1 / 3)), (1.0, 0.5)]
