"""How good the answers of measured models are, and how each compares with the first; for bench and check."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.benchmark.findings import Measured, all_labels
from compress.data import Split
from compress.evaluation.balance import measure_balance
from compress.evaluation.comparison import Change, measure_change
from compress.evaluation.flips import find_flips
from compress.evaluation.metrics import (
    Floats,
    Indicators,
    choose_metric,
    confidence,
    measure_accuracy,
    measure_quality,
    predictions,
    truth,
)
from compress.evaluation.selective import measure_selection, risk_coverage
from compress.runtime.decision import probabilities
from compress.task import is_multi_label


def judge(measured: Mapping[str, Measured], test: Split, wanted: str | None, seed: int) -> dict[str, dict[str, Any]]:
    """The ``accuracy`` of each model, what it changes ``versus_first``, and its ``flips``, as in results.json.

    Labels are matched by name. ``wanted`` is the metric, by default the task's; ``seed`` is the bootstrap's. Without
    test labels accuracies are None.
    """
    first = next(iter(measured.values()))
    labels = all_labels(model.info for model in measured.values())
    true = right_answers(measured, test) if test.labels else None
    metric = choose_metric(wanted, first.info.task, len(labels))
    first_answers = answers_of(first, labels)
    judged = {}
    for name, model in measured.items():
        answers = answers_of(model, labels)
        if true is None:
            agreement = float((first_answers == answers).all(axis=1).mean())
            accuracy, change = None, {"accuracy_delta": None, "ci95": None, "agreement": agreement, "mcnemar_p": None}
        else:
            accuracy = asdict(measure_accuracy(metric, answers, true, seed))
            confidences = _confidences(model, labels)
            accuracy |= asdict(measure_quality(labels, answers, true, confidences))
            accuracy |= _selective_accuracy(model, confidences, (answers == true).all(axis=1))
            no_change = Change(0.0, (0.0, 0.0), 1.0, 1.0)  # of a model against itself, where no chance comes in
            change = asdict(no_change if model is first else measure_change(metric, first_answers, answers, true, seed))
        flips = asdict(find_flips(test.texts, labels, first_answers, answers, true))
        judged[name] = {"accuracy": accuracy, "versus_first": change, "flips": flips}
    return judged


def balance_of(measured: Mapping[str, Measured], test: Split, wanted: str | None) -> dict[str, Any]:
    """How often each label occurs in the test texts, see :mod:`compress.evaluation.balance`."""
    labels, task = all_labels(model.info for model in measured.values()), next(iter(measured.values())).info.task
    return asdict(measure_balance(choose_metric(wanted, task, len(labels)), labels, right_answers(measured, test)))


def right_answers(measured: Mapping[str, Measured], test: Split) -> Indicators:
    """The labels of the test texts, bool ``[n, labels]``, in the order of :func:`all_labels`."""
    labels, task = all_labels(model.info for model in measured.values()), next(iter(measured.values())).info.task
    return truth(test.targets(labels, task), len(labels))


def answers_of(model: Measured, labels: tuple[str, ...]) -> Indicators:
    """The model's predictions, bool ``[n, labels]``, with its columns in the order of ``labels``."""
    predicted = predictions(model.info.task, model.logits, model.info.decision.thresholds)
    answers = np.zeros((len(predicted), len(labels)), dtype=np.bool_)
    answers[:, [labels.index(label) for label in model.info.labels]] = predicted
    return answers


def _selective_accuracy(model: Measured, confidences: Floats, right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Coverage and risk of a model that may abstain, and its risk-coverage curve; None for multi-label tasks."""
    if is_multi_label(model.info.task):
        return {"selection": None, "risk_coverage": None}
    least = model.info.decision.abstain_below
    # Scores as calibrate and the app round them, for a text whose score is exactly the least.
    scores = probabilities(model.logits, multi_label=False).max(axis=1).astype(np.float64)
    selection = None if least is None else asdict(measure_selection(scores, right, least))
    return {"selection": selection, "risk_coverage": risk_coverage(confidences, right)}


def _confidences(model: Measured, labels: tuple[str, ...]) -> Floats:
    """The model's confidence in its answers, ``[n]``, or in each label, ``[n, labels]``: 1 for an unknown label."""
    own = confidence(model.info.task, model.logits, model.info.decision.thresholds)
    if own.ndim == 1:
        return own
    confidences = np.ones((len(own), len(labels)))
    confidences[:, [labels.index(label) for label in model.info.labels]] = own
    return confidences
