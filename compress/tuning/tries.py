"""The figures measured of each try, and the choice of the best.

Losses are measured on the texts to choose by; before models are compared they are shrunk, see :func:`shrunk_losses`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import le

import numpy as np

from compress.config.settings import Epochs
from compress.evaluation.metrics import DEVIATIONS_95
from compress.tuning.candidates import label_of
from compress.tuning.goals import Figures, Goals

_SHRUNK_FROM = 5  # models
# The usual deviation of a model's loss from the regression on its disagreement, as a share of the disagreement, and
# the number of tries that this prior counts as. In simulations with 111 to 1,500 texts shrunk losses are nearer to the
# truth than measured ones, also with untrained models among them.
_PRIOR_DEVIATION, _PRIOR_TRIES = 0.3, 3


@dataclass(frozen=True)
class Try:
    """The figures of one candidate after one training, on the texts to choose by.

    Attributes:
        candidate: the candidate's title.
        epochs: epochs of the training; 0 where there was none.
        value: the metric, as a fraction; ``value_ci95`` is its 95% interval.
        loss: points lost against the teacher, and ``loss_ci95`` the paired 95% interval.
        agreement: the share of texts that get the teacher's answer.
        ms: median from a text to its answer, of a cascade the mean; ``ms_ci95`` is its 95% interval. Both are scaled
            by the teacher's int8 model, which was timed beside it.
        megabytes: size of the int8 model.
        train_s: seconds of the training; ``seconds`` are those of the whole try.
        failed: why there is no model; empty where there is one.
        final: whether it would fail for the same reason again.
        small: name of a cascade's small model; ``large`` names its large one, and ``max_drop`` is the points that the
            cascade may lose against the large one by itself.
    """

    candidate: str
    epochs: Epochs
    value: float = 0.0
    value_ci95: tuple[float, float] = (0.0, 0.0)
    loss: float = 100.0
    loss_ci95: tuple[float, float] = (100.0, 100.0)
    agreement: float = 0.0
    ms: float = 0.0
    ms_ci95: tuple[float, float] = (0.0, 0.0)
    megabytes: float = 0.0
    seconds: float = 0.0
    train_s: float = 0.0
    failed: str = ""
    final: bool = False
    small: str = ""
    large: str = ""
    max_drop: float = 0.0

    @property
    def label(self) -> str:
        """The name of its model."""
        return label_of(self.candidate, self.epochs)

    @property
    def is_cascade(self) -> bool:
        """Whether it joins two others."""
        return bool(self.small)


def shrunk_losses(tries: Sequence[Try]) -> list[float]:
    """The points that each model loses, shrunk towards a regression on its disagreement with the teacher.

    Among dozens of models the one that looks best has been lucky. Over all tries the loss is about proportional to the
    disagreement, the share of answers other than the teacher's, which many texts show; a model's own deviation from it
    counts as far as it is more than chance (James and Stein 1961; Efron and Morris 1975). Deviations grow with the
    disagreement, so a model that has learned nothing yet says little of those nearly as good as the teacher.
    """
    losses = np.array([each.loss for each in tries])
    if len(tries) < _SHRUNK_FROM:
        return [float(loss) for loss in losses]
    disagreement = np.array([1 - each.agreement for each in tries])
    chance = np.array([((each.loss_ci95[1] - each.loss_ci95[0]) / 2 / DEVIATIONS_95) ** 2 for each in tries])
    points = (100 * disagreement) ** 2
    weights = 1 / np.maximum(_PRIOR_DEVIATION**2 * points + chance, 1e-12)
    slope = max(0.0, float((weights * losses) @ disagreement / max(1e-12, (weights * disagreement) @ disagreement)))
    deviations, counted = losses - slope * disagreement, weights**2 * points
    observed = float(counted @ (deviations**2 - chance) / max(1e-12, counted @ points))
    prior = _PRIOR_TRIES / len(tries)
    own = max(0.0, observed + prior * _PRIOR_DEVIATION**2) / (1 + prior) * points
    kept = own / np.maximum(own + chance, 1e-12)
    return [float(loss) for loss in slope * disagreement + kept * deviations]


def figures(tries: Sequence[Try]) -> list[Figures]:
    """The figures by which tries are compared: shrunk losses, and the median latency of all tries of a candidate.

    A cascade mixes the answers of two other models, so it takes no part in the shrinking and keeps its measured loss.
    """
    singles = [each for each in tries if not each.is_cascade]
    losses = dict(zip((each.label for each in singles), shrunk_losses(singles), strict=True))
    ms: dict[str, list[float]] = {}
    for each in tries:
        ms.setdefault(each.candidate, []).append(each.ms)
    return [
        Figures(losses.get(each.label, each.loss), float(np.median(ms[each.candidate])), each.megabytes)
        for each in tries
    ]


def best(tries: Sequence[Try], goals: Goals) -> Try | None:
    """The try that meets the goals best, if possible one that was trained longest; None where none meets them."""
    made = [each for each in tries if not each.failed]
    by_label = dict(zip((each.label for each in made), figures(made), strict=True))
    meeting = [each for each in made if goals.met_by(by_label[each.label])]
    to_the_end = longest(made)
    eligible = [each for each in meeting if each in to_the_end] or meeting
    return min(eligible, key=lambda each: goals.rank(by_label[each.label]), default=None)


def front(tries: Sequence[Try], goals: Goals) -> list[Try]:
    """The Pareto front of the longest training of each candidate, the fastest first.

    Latency and loss count, and size where there is a goal for it.
    """

    def costs(each: Try) -> tuple[float, ...]:
        return (each.ms, each.loss) if goals.megabytes is None else (each.ms, each.loss, each.megabytes)

    unbeaten: list[Try] = []
    for each in sorted(longest(tries), key=costs):
        if not any(all(map(le, costs(other), costs(each))) for other in unbeaten):
            unbeaten.append(each)
    return unbeaten


def longest(tries: Sequence[Try]) -> list[Try]:
    """The try of each candidate that was trained longest, of those that did not fail."""
    last = {each.candidate: each for each in sorted(tries, key=lambda each: each.epochs) if not each.failed}
    return list(last.values())
