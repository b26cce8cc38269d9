"""What the winner will lose on new texts, told by validation texts kept out of the search.

A winner among dozens looks better on the texts that it was picked by than it is. So half of the validation texts are
held back: no checkpoint, no temperature and no model is chosen by them, and the loss is stated from them alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.data import Dataset, Split
from compress.data.split import hold_out
from compress.evaluation.comparison import compare_logits, is_within
from compress.runtime.predictor import Logits

_SHARE = 0.5
_SEED = 0


def divided(dataset: Dataset) -> tuple[Split, Split]:
    """The validation texts to choose by, and those that are held back; kindred texts are on the same side.

    The held-back part may be empty where there are too few different texts.
    """
    validation = dataset.validation
    held, rest = hold_out(validation.texts, validation.labels, [int(len(validation) * _SHARE)], _SEED)
    return validation.of_rows(rest), validation.of_rows(held)


@dataclass(frozen=True)
class Promise:
    """What a model loses against its teacher on ``texts`` held-back texts, in points; below 0 where it gains.

    ``ci95`` is the paired 95% interval of the loss itself. On a test of finite size chance comes in once more:
    ``on_test_ci95`` is where the loss lies on ``test_texts`` other texts, in 95 of 100 cases.
    """

    texts: int
    loss: float
    ci95: tuple[float, float]
    agreement: float
    test_texts: int

    @property
    def on_test_ci95(self) -> tuple[float, float]:
        """The interval widened by the chance in so many other texts (a prediction interval; variances add up)."""
        wider = np.sqrt(1 + self.texts / max(1, self.test_texts))
        low, high = (self.loss + wider * (bound - self.loss) for bound in self.ci95)
        return float(low), float(high)

    def as_metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "held_back_texts": self.texts,
            "loss_points": round(self.loss, 3),
            "loss_at_least": round(self.ci95[0], 3),
            "loss_at_most": round(self.ci95[1], 3),
            "loss_on_test_ci95": self.on_test_ci95,
            "agreement": round(self.agreement, 4),
        }

    def __str__(self) -> str:
        changes = f"gains {_shown(-self.loss)}" if self.loss < 0 else f"loses {_shown(self.loss)}"
        return (
            f"on {self.texts:,} validation texts kept out of the search it {changes} points ({self._interval_words}) "
            f"and answers as the teacher on {self.agreement:.1%}"
        )

    def missed_words(self, max_drop: float | None) -> str:
        """What to say where all of the interval is above the points that were allowed; else nothing."""
        if max_drop is None or is_within(self.ci95[0], max_drop):
            return ""
        return (
            f"The held-back texts say that it loses more than was asked: {_shown(self.loss)} points "
            f"({self._interval_words}), and at most {max_drop:g} were allowed."
        )

    @property
    def _interval_words(self) -> str:
        low, high = map(_shown, self.ci95)
        return f"95% interval of the loss {low} to {high}"


def promise_of(
    metric: str, task: str, labels: Sequence[str], teacher: Logits, model: Logits, held: Split, test_texts: int
) -> Promise:
    """From the logits of both on the held-back texts, ``[n, labels]``, with columns in the order of ``labels``."""
    change = compare_logits(metric, task, labels, teacher, model, held.targets(labels, task))
    return Promise(len(held), change.drop_points, change.drop_points_ci95, change.agreement, test_texts)


def _shown(points: float) -> str:
    """To one decimal, and never -0.0."""
    return f"{round(points, 1) + 0:.1f}"
