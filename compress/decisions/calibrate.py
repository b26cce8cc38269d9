"""Fit a temperature and choose thresholds, or a score to abstain below, from the logits of validation texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.config import CalibrateConfig
from compress.decisions.abstention import candidates, choose_abstention, texts_needed
from compress.decisions.thresholds import LabelThreshold, choose_thresholds
from compress.errors import CompressError
from compress.evaluation.metrics import (
    Floats,
    calibration_error,
    confidence,
    from_counts,
    predictions,
    text_counts,
    truth,
)
from compress.formatting import some
from compress.manifest_entries import NEVER
from compress.progress import say
from compress.quantization.temperature import FittedTemperature, fit_temperature
from compress.runtime.decision import probabilities
from compress.runtime.predictor import Logits
from compress.task import is_multi_label

Targets = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Calibrated:
    """The result of :func:`calibrate`."""

    temperature: FittedTemperature
    decision: dict[str, Any] | None  # as in a manifest
    metrics: dict[str, Any]


def calibrate(
    labels: Sequence[str],
    task: str,
    logits: Logits,
    targets: Targets,
    config: CalibrateConfig,
    *,
    fitted_before: bool = False,
) -> Calibrated:
    """Fit a temperature to ``[n, labels]`` logits, then choose thresholds or a score to abstain below.

    With ``fitted_before`` the logits are divided by a temperature already, which quantize fitted on more texts, say; it
    stays as it is unless another makes the labels likelier.

    Where an error is to be bounded, a random third of the texts fits the temperature and chooses the scores to test,
    and the others are tested on; see :mod:`compress.decisions.abstention`.

    Raises:
        CompressError: there are too few texts for the bound, or it cannot be reached; or a setting is for another task.
    """
    multi_label = is_multi_label(task)
    if multi_label and config.max_error is not None:
        raise CompressError("calibrate.max_error is for tasks with one label a text; give --min-precision for this one")
    if not multi_label and config.min_precision is not None:
        raise CompressError("calibrate.min_precision is for multi-label tasks; give --max-error for this one")
    fitted_on = np.arange(len(logits))
    if config.max_error is not None:
        fitted_on, tested_on = _split(len(logits), config.max_error / 100, config.seed)
    fitted = fit_temperature(logits[fitted_on], targets[fitted_on], task)
    if fitted_before and fitted.nll_after >= fitted.nll_before:
        fitted = FittedTemperature(1.0, fitted.nll_before, fitted.nll_before)
    calibrated = (logits / fitted.temperature).astype(np.float32)
    right = truth(targets, len(labels))
    metrics = asdict(fitted) | _calibration_errors(task, logits, calibrated, right)
    if multi_label:
        decision, by_label = _by_label(labels, calibrated, right, config)
        return Calibrated(fitted, decision, metrics | by_label)
    if config.max_error is None:
        return Calibrated(fitted, None, metrics)
    scores = probabilities(calibrated, multi_label=False).max(axis=1).astype(np.float64)
    correct = (predictions(task, calibrated) == right).all(axis=1)
    error = config.max_error / 100
    levels = candidates(scores[fitted_on], correct[fitted_on], error, len(tested_on))
    chosen = choose_abstention(levels, scores[tested_on], correct[tested_on], error)
    figures = {name: getattr(chosen, name) for name in ("abstain_below", "coverage", "error", "error_bound")}
    return Calibrated(fitted, asdict(chosen), metrics | figures)


def _split(texts: int, max_error: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of a random third of the texts, and the other rows; refused where too few to show the bound."""
    order, needed = np.random.default_rng(seed).permutation(texts), texts_needed(max_error)
    at_least = max(3, needed + (needed - 1) // 2)
    if texts < at_least:
        raise CompressError(
            f"calibrate.max_error {100 * max_error:g} needs at least {at_least:,} validation texts "
            f"({needed:,} answered without a mistake, beside a third that fits the temperature), got {texts:,}; give "
            "more with --validation FILE, or allow more with --max-error"
        )
    return order[: texts // 3], order[texts // 3 :]


def _calibration_errors(task: str, before: Logits, after: Logits, right: npt.NDArray[np.bool_]) -> dict[str, float]:
    answers = predictions(task, before)  # a temperature changes no answer
    correct = answers == right if is_multi_label(task) else (answers == right).all(axis=1)
    names = {"ece_before": before, "ece_after": after}
    return {name: calibration_error(confidence(task, each).ravel(), correct.ravel()) for name, each in names.items()}


def _by_label(
    labels: Sequence[str], calibrated: Logits, right: npt.NDArray[np.bool_], config: CalibrateConfig
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    if config.thresholds == "none":
        return None, {}
    least = None if config.min_precision is None else config.min_precision / 100
    by_label = choose_thresholds(labels, probabilities(calibrated, multi_label=True), right, least)
    _warn(by_label, least)
    thresholds = {each.label: each.threshold for each in by_label}
    f1 = {
        "validation_macro_f1_at_half": _macro_f1(calibrated, right, None),
        "validation_macro_f1": _macro_f1(calibrated, right, list(thresholds.values())),
    }
    chosen = "f1" if least is None else f"precision of at least {config.min_precision:g}%"
    return {"thresholds": thresholds, "chosen_by": chosen, "texts": len(right)}, f1 | {
        "by_label": list(map(asdict, by_label))
    }


def _macro_f1(logits: Logits, right: npt.NDArray[np.bool_], thresholds: Sequence[float] | None) -> float:
    sums: Floats = text_counts("macro_f1", predictions("multi_label", logits, thresholds), right).sum(axis=0)
    return float(from_counts("macro_f1", sums, len(right)))


def _warn(by_label: Sequence[LabelThreshold], least: float | None) -> None:
    if absent := [row.label for row in by_label if not row.n]:
        say(f"calibrate: no validation text has {some(absent, 'or')}; the threshold stays 0.5")
    if never := [f"{row.label} ({100 * (row.best_precision or 0):.0f}%)" for row in by_label if row.threshold == NEVER]:
        say(
            f"calibrate: no threshold keeps a precision of {100 * (least or 0):g}% for {some(never)}; such a label is "
            "never given (in brackets: its best precision)"
        )
