"""Scores that can be taken at their word: one temperature, fitted on validation texts and folded into the graph.

Folded, and not left to the runtime to apply: every client turns logits into scores by itself and none can be told a
temperature, so only what is in the graph makes all of them answer with the same scores. It changes no label (the
largest logit stays the largest, and each keeps its sign) and costs nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from compress.data import Split
from compress.evaluation.metrics import Floats, truth
from compress.runtime.predictor import Logits, Predictor, predict_logits
from compress.task import is_multi_label

_LOWEST, _HIGHEST = 0.1, 10.0
_HALVINGS = 40
_LAST_LAYER = ("logits.weight", "logits.bias")


@dataclass(frozen=True)
class Calibration:
    """A temperature and what it changes on the texts that it was fitted on.

    Attributes:
        temperature: what the logits are divided by.
        nll_before: mean negative log-likelihood of the right labels, in nats, at temperature 1.
        nll_after: the same at ``temperature``.
    """

    temperature: float
    nll_before: float
    nll_after: float


def calibrate(predictor: Predictor, split: Split) -> Calibration:
    """The temperature that fits ``predictor`` to the labels of ``split``."""
    logits = predict_logits(predictor, split.texts)
    return fit_temperature(logits, split.targets(predictor.labels, predictor.task), predictor.task)


def fit_temperature(logits: Logits, targets: npt.NDArray[np.generic], task: str) -> Calibration:
    """The temperature that makes the labels likeliest (Guo et al. 2017), from 0.1 to 10.

    The labels are softened by what ``n`` texts can show (Platt 1999), so that a model that is right on all of them is
    not made certain of everything. The likelihood's slope in ``1 / temperature`` only rises, so halving finds its zero.

    Args:
        logits: float ``[n, labels]``; multi-label tasks have a temperature for all labels together too.
        targets: int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks.
        task: ``single_label``, ``multi_label`` or one of them for pairs.
    """
    z, multi_label = logits.astype(np.float64), is_multi_label(task)
    right = truth(targets, logits.shape[1])
    soft = _softened(right, multi_label=multi_label)
    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        chances = np.exp(_log_chances(z * np.exp(middle), multi_label=multi_label)[0])
        slope = ((chances - soft) * z).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    temperature = float(np.exp(-(low + high) / 2))
    before, after = (_nll(z / divisor, right, multi_label=multi_label) for divisor in (1.0, temperature))
    return Calibration(temperature, before, after)


def fold_temperature(model: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """A copy of a model of ours whose logits are divided by ``temperature``: its last layer is."""
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    for tensor in folded.graph.initializer:
        if tensor.name in _LAST_LAYER:
            scaled = (numpy_helper.to_array(tensor) / temperature).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    return folded


def _softened(right: npt.NDArray[np.bool_], *, multi_label: bool) -> Floats:
    texts, labels = right.shape
    outcomes = 2 if multi_label else labels
    return np.asarray((right * float(texts) + 1) / (texts + outcomes))


def _nll(logits: Floats, right: npt.NDArray[np.bool_], *, multi_label: bool) -> float:
    yes, no = _log_chances(logits, multi_label=multi_label)
    chances = np.where(right, yes, no) if multi_label else yes[right]
    return float(-chances.mean())


def _log_chances(logits: Floats, *, multi_label: bool) -> tuple[Floats, Floats]:
    """Log-probability of each label, and (for multi-label tasks) of its absence."""
    if multi_label:
        return -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    yes = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return yes, np.zeros_like(yes)
