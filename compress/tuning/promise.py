"""What the winner will lose on new texts, estimated on validation texts kept out of the search.

A winner among dozens looks better than it is on the texts by which it was chosen. So half of the validation texts are
held back: no checkpoint, no temperature and no model is chosen by them, and the loss is stated from them alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.data import Dataset, Split
from compress.data.split import hold_out
from compress.evaluation.comparison import Agreement, is_within

_SHARE = 0.5
_SEED = 0


def divided(dataset: Dataset) -> tuple[Split, Split]:
    """The validation texts to choose by, and those held back; texts that share passages stay together where possible.

    The held-back part may be empty where there are too few different texts.
    """
    validation = dataset.validation
    held, rest = hold_out(validation.texts, validation.labels, [int(len(validation) * _SHARE)], _SEED)
    return validation.of_rows(rest), validation.of_rows(held)


@dataclass(frozen=True)
class Promise:
    """The loss of a model against its teacher on the held-back texts.

    ``on_test_ci95`` is the prediction interval of the loss on ``test_texts`` other texts, in 95 of 100 cases.
    """

    change: Agreement
    test_texts: int

    @property
    def on_test_ci95(self) -> tuple[float, float]:
        """The interval of the loss in points, widened by the chance in the test texts (the variances add up)."""
        loss = self.change.drop_points
        wider = np.sqrt(1 + self.change.texts / max(1, self.test_texts))
        low, high = (loss + wider * (bound - loss) for bound in self.change.drop_points_ci95)
        return float(low), float(high)

    def as_metrics(self) -> dict[str, Any]:
        """The figures for the manifest; losses in points."""
        low, high = self.change.drop_points_ci95
        return {
            "held_back_texts": self.change.texts,
            "loss_points": round(self.change.drop_points, 3),
            "loss_at_least": round(low, 3),
            "loss_at_most": round(high, 3),
            "loss_on_test_ci95": self.on_test_ci95,
            "agreement": round(self.change.agreement, 4),
        }

    def __str__(self) -> str:
        loss, texts = self.change.drop_points, self.change.texts
        changes = f"gains {_shown(-loss)}" if loss < 0 else f"loses {_shown(loss)}"
        return (
            f"on {texts:,} validation texts kept out of the search it {changes} points ({self._interval_words}) "
            f"and answers as the teacher on {self.change.agreement:.1%}"
        )

    def missed_words(self, max_drop: float | None) -> str:
        """A warning where the whole interval is above the points that were allowed, else an empty string."""
        if max_drop is None or is_within(self.change.drop_points_ci95[0], max_drop):
            return ""
        return (
            f"The held-back texts say that it loses more than was asked: {_shown(self.change.drop_points)} points "
            f"({self._interval_words}), and at most {max_drop:g} were allowed."
        )

    @property
    def _interval_words(self) -> str:
        low, high = map(_shown, self.change.drop_points_ci95)
        return f"95% interval of the loss {low} to {high}"


def _shown(points: float) -> str:
    """Points to one decimal, never -0.0."""
    return f"{round(points, 1) + 0:.1f}"
