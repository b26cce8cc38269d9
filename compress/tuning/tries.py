"""What was measured of the models that were tried, and which of them is best.

A loss is measured on the texts to choose by; where models are compared it is first settled by what all of them show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import le

import numpy as np

from compress.config.settings import Epochs
from compress.evaluation.metrics import DEVIATIONS_95
from compress.tuning.candidates import label_of
from compress.tuning.goals import Figures, Goals

_SETTLED_AT = 5  # models
# By how much of its disagreement a model's loss usually deviates from what the others let expect, and the tries for
# which that counts. In simulations of 111 to 1,500 texts losses so settled are nearer to the truth than those measured,
# also with untrained models among them.
_OWN_SHARE, _PRIOR_TRIES = 0.3, 3


@dataclass(frozen=True)
class Try:
    """What was measured of one candidate after one training, on the texts to choose by.

    Attributes:
        candidate: its title.
        epochs: of the training; 0 where there was none.
        value: the metric, as a fraction; ``value_ci95`` is its 95% interval.
        loss: points lost against the teacher, and ``loss_ci95`` the paired 95% interval.
        agreement: the share of texts that get the teacher's answer.
        ms: median from a text to its answer, of a cascade the mean; ``ms_ci95`` is its 95% interval. Both are in
            proportion to the teacher's int8 model, which was timed beside it.
        megabytes: of the int8 model.
        train_s: what the training took; ``seconds`` the whole try.
        failed: why there is no model; empty where there is one.
        final: whether it would fail for the same reason again.
        small: of a cascade the name of its small model, ``large`` of its large one, and ``max_drop`` the points that
            both may lose together against the large one by itself.
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


def settled(tries: Sequence[Try]) -> list[float]:
    """The points that each model loses, drawn towards what its disagreement with the teacher lets expect.

    Among dozens of models the one that looks best has been lucky. Over all tries the loss is about proportional to the
    share of other answers than the teacher's, which many texts tell; each model's own deviation counts as far as it is
    more than chance (James and Stein 1961; Efron and Morris 1975). That deviation, too, is larger where more answers
    differ, so a model that has learned nothing yet says little of those that are nearly as good as the teacher.
    """
    losses = np.array([each.loss for each in tries])
    if len(tries) < _SETTLED_AT:
        return [float(loss) for loss in losses]
    disagreement = np.array([1 - each.agreement for each in tries])
    chance = np.array([((each.loss_ci95[1] - each.loss_ci95[0]) / 2 / DEVIATIONS_95) ** 2 for each in tries])
    points = (100 * disagreement) ** 2
    weights = 1 / np.maximum(_OWN_SHARE**2 * points + chance, 1e-12)
    slope = max(0.0, float((weights * losses) @ disagreement / max(1e-12, (weights * disagreement) @ disagreement)))
    deviations, counted = losses - slope * disagreement, weights**2 * points
    seen = float(counted @ (deviations**2 - chance) / max(1e-12, counted @ points))
    prior = _PRIOR_TRIES / len(tries)
    own = max(0.0, seen + prior * _OWN_SHARE**2) / (1 + prior) * points
    kept = own / np.maximum(own + chance, 1e-12)
    return [float(loss) for loss in slope * disagreement + kept * deviations]


def figures(tries: Sequence[Try]) -> list[Figures]:
    """What each try costs: its loss :func:`settled`, its latency that of all its candidate's tries.

    A cascade mixes the answers of two others, so it tells nothing new of them, and its loss is the one measured.
    """
    singles = [each for each in tries if not each.is_cascade]
    losses = dict(zip((each.label for each in singles), settled(singles), strict=True))
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
    meeting = [
        (each, goals.rank(found)) for each, found in zip(made, figures(made), strict=True) if goals.met_by(found)
    ]
    to_the_end = longest(made)
    chosen = [one for one in meeting if one[0] in to_the_end] or meeting
    return min(chosen, key=lambda one: one[1])[0] if chosen else None


def front(tries: Sequence[Try], goals: Goals) -> list[Try]:
    """Of each candidate's longest training, those that no other beats in all that counts, the fastest first.

    Latency and loss count, and size where there is a goal for it.
    """

    def costs(each: Try) -> tuple[float, ...]:
        return (each.ms, each.loss) if goals.megabytes is None else (each.ms, each.loss, each.megabytes)

    found: list[Try] = []
    for each in sorted(longest(tries), key=costs):
        if not any(all(map(le, costs(other), costs(each))) for other in found):
            found.append(each)
    return found


def longest(tries: Sequence[Try]) -> list[Try]:
    """The longest training of each candidate."""
    last = {each.candidate: each for each in sorted(tries, key=lambda each: each.epochs) if not each.failed}
    return list(last.values())
