"""Two models on the same texts: the paired difference of a metric, how sure it is, and which answers changed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.flips import count_flips
from compress.evaluation.intervals import Interval, percentile_interval, resampled_sums
from compress.evaluation.metrics import (
    Floats,
    Indicators,
    from_counts,
    positive_column,
    predictions,
    score,
    text_counts,
    truth,
)
from compress.runtime.predictor import Logits


@dataclass(frozen=True)
class Change:
    """What a model's answers change against another model's, on the same texts.

    Attributes:
        accuracy_delta: this model's metric minus the other's, a fraction; below 0 where it lost.
        ci95: 95% interval of the delta, from a paired bootstrap over the texts.
        agreement: share of texts to which both give the same answer.
        mcnemar_p: the chance of so uneven a split of the texts that only one of the two gets right, were both equally
            good.
    """

    accuracy_delta: float
    ci95: Interval
    agreement: float
    mcnemar_p: float


@dataclass(frozen=True)
class Agreement(Change):
    """A quantized model against its parent.

    Attributes:
        metric: the metric that both are judged by.
        parent: the parent's metric, a fraction.
        quantized: the quantized model's metric.
        flips: answers that changed and on how many texts, see :func:`compress.evaluation.flips.count_flips`.
        texts: how many texts were compared.
    """

    metric: str
    parent: float
    quantized: float
    flips: dict[str, int]
    texts: int

    @property
    def drop_points(self) -> float:
        """Points lost against the parent; below 0 where it gained."""
        return 100 * (self.parent - self.quantized)

    def is_within(self, max_drop: float) -> bool:
        """Whether it lost no more than ``max_drop`` points; a rounding error is not a loss."""
        return self.drop_points <= max_drop + 1e-9

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.ci95)
        changed = ", ".join(f"{flip}: {texts}" for flip, texts in self.flips.items())
        return (
            f"{self.metric} {100 * self.parent:.2f} to {100 * self.quantized:.2f} "
            f"({100 * self.accuracy_delta:+.2f} points, 95% interval {low:+.2f} to {high:+.2f}, "
            f"McNemar p {self.mcnemar_p:.2g}), "
            f"{100 * self.agreement:.2f}% of {self.texts} answers as before" + (f" ({changed})" if changed else "")
        )


def compare_logits(
    metric: str,
    task: str,
    labels: Sequence[str],
    before: Logits,
    after: Logits,
    targets: npt.NDArray[np.generic],
) -> Agreement:
    """The parent's logits ``before`` and the quantized model's ``after`` (float ``[n, labels]``) on the same texts.

    ``labels`` are those of the columns; ``targets`` are int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks.
    """
    positive = positive_column(labels)
    answered_before, answered_after = predictions(task, before), predictions(task, after)
    true = truth(targets, len(labels))
    return Agreement(
        **asdict(measure_change(metric, answered_before, answered_after, true, seed=0, positive=positive)),
        metric=metric,
        parent=score(metric, before, targets, positive=positive),
        quantized=score(metric, after, targets, positive=positive),
        flips=count_flips(task, labels, answered_before, answered_after),
        texts=len(before),
    )


def measure_change(
    metric: str, first: Indicators, other: Indicators, true: Indicators, seed: int, *, positive: int = 1
) -> Change:
    """What ``other`` changes against ``first``; all three are ``[n, labels]`` with the labels in one order.

    ``seed`` is that of the bootstrap, ``positive`` the column that f1 is of.
    """
    counts = [text_counts(metric, predicted, true, positive=positive) for predicted in (first, other)]
    n, width = counts[0].shape
    both = np.concatenate(counts, axis=1)
    whole = both.sum(axis=0)

    def metric_of(sums: Floats, half: slice) -> Floats:
        return from_counts(metric, sums[..., half], n, whole[half])

    def delta(sums: Floats) -> Floats:
        return metric_of(sums, slice(width, None)) - metric_of(sums, slice(width))

    first_right, other_right = ((predicted == true).all(axis=1) for predicted in (first, other))
    return Change(
        accuracy_delta=float(delta(whole)),
        ci95=percentile_interval(delta(resampled_sums(both, seed))),
        agreement=float((first == other).all(axis=1).mean()),
        mcnemar_p=mcnemar_p(first_right, other_right),
    )


def mcnemar_p(first_right: npt.NDArray[np.bool_], other_right: npt.NDArray[np.bool_]) -> float:
    """McNemar's exact test: two-sided binomial over the texts that only one of the two gets right."""
    from scipy.stats import binomtest

    only_first = int((first_right & ~other_right).sum())
    discordant = int((first_right != other_right).sum())
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
