"""Scores that are probabilities: one temperature, fitted on validation texts and folded into the graph.

It is folded into the graph and not kept for the runtime, because every client turns logits into scores by itself. It
changes no label (the largest logit stays the largest, and each keeps its sign) and costs no time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from scipy.special import log_expit, log_softmax

from compress.evaluation.metrics import Floats, truth
from compress.graph.writer import CLASSIFIER, constants_of, rewrite
from compress.runtime.predictor import Logits
from compress.task import is_multi_label

_LOWEST, _HIGHEST = 0.1, 10.0
_BISECTIONS = 40


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature and its effect on the texts that it was fitted on."""

    temperature: float  # the logits are divided by it
    nll_before: float  # mean negative log-likelihood of the right labels, in nats, at temperature 1
    nll_after: float


def fit_temperature(logits: Logits, targets: npt.NDArray[np.generic], task: str) -> FittedTemperature:
    """The temperature that makes the labels likeliest (Guo et al. 2017), from 0.1 to 10.

    Logits are ``[n, labels]``, targets int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks, which have one
    temperature for all labels too.

    The labels are smoothed as by one more text of which nothing is known, so that a model that is right on all ``n`` is
    not made certain of everything (Platt 1999; half a text for each of two labels, Krichevsky and Trofimov 1981: a
    whole one for each would make 77 labels unsure of everything). The slope of the negative log-likelihood in
    ``1 / temperature`` only rises, so bisection finds its zero.
    """
    z, multi_label = logits.astype(np.float64), is_multi_label(task)
    right = truth(targets, logits.shape[1])
    texts, labels = right.shape
    soft = (right * float(texts) + 1 / (2 if multi_label else labels)) / (texts + 1)
    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        probabilities = np.exp(_log_probabilities(z * np.exp(middle), multi_label=multi_label))
        slope = ((probabilities - soft) * z).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    temperature = float(np.exp(-(low + high) / 2))
    before, after = (_nll(z / divisor, right, multi_label=multi_label) for divisor in (1.0, temperature))
    return FittedTemperature(temperature, before, after)


def fold_temperature(model: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """A copy of a model of ours whose logits are divided by ``temperature``, in its last layer."""
    constants = constants_of(model)
    folded = {name: (constants[name] / temperature).astype(np.float32) for name in CLASSIFIER}
    return rewrite(model, constants=constants | folded)


def _nll(logits: Floats, right: npt.NDArray[np.bool_], *, multi_label: bool) -> float:
    if multi_label:  # a label is absent with the probability of the opposite logit
        return float(-_log_probabilities(np.where(right, logits, -logits), multi_label=True).mean())
    return float(-_log_probabilities(logits, multi_label=False)[right].mean())


def _log_probabilities(logits: Floats, *, multi_label: bool) -> Floats:
    """The log-probability of each label."""
    return np.asarray(log_expit(logits) if multi_label else log_softmax(logits, axis=1))
