"""Compare two models on the same texts: the paired difference of a metric, and its interval."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from compress.evaluation.metrics import (
    Floats,
    Indicators,
    Interval,
    from_counts,
    percentile_interval,
    positive_column,
    predictions,
    resampled_sums,
    score,
    text_counts,
    truth,
    wilson_interval,
)
from compress.formatting import metric_name
from compress.runtime.predictor import Logits


@dataclass(frozen=True)
class Change:
    """A model's answers against another model's, on the same texts; all numbers are fractions."""

    accuracy_delta: float  # this model's metric minus the other's
    ci95: Interval  # 95% interval of the delta, see measure_change
    agreement: float  # share of texts to which both give the same answer
    mcnemar_p: float  # see mcnemar_p


def is_within(points: float, limit: float) -> bool:
    """Whether a loss is no more than ``limit``, both in points; a rounding error is not a loss."""
    return points <= limit + 1e-9


@dataclass(frozen=True)
class Agreement(Change):
    """A quantized model against its parent, with the metric of each."""

    metric: str
    parent: float
    quantized: float
    texts: int

    @property
    def drop_points(self) -> float:
        """Points lost against the parent; below 0 where it gained."""
        return 100 * (self.parent - self.quantized)

    @property
    def drop_points_ci95(self) -> Interval:
        """The 95% interval of :attr:`drop_points`, in points."""
        low, high = self.ci95
        return 0.0 - 100 * high, 0.0 - 100 * low  # never -0.0

    def is_within(self, max_drop: float) -> bool:
        """Whether the quantized model lost no more than ``max_drop`` points."""
        return is_within(self.drop_points, max_drop)

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.ci95)
        return (
            f"{metric_name(self.metric)} {100 * self.parent:.2f} to {100 * self.quantized:.2f} "
            f"({100 * self.accuracy_delta:+.2f} points, 95% interval {low:+.2f} to {high:+.2f}, "
            f"McNemar p {self.mcnemar_p:.2g}), "
            f"{100 * self.agreement:.2f}% of {self.texts} answers as before"
        )


def compare_logits(
    metric: str, task: str, labels: Sequence[str], before: Logits, after: Logits, targets: npt.NDArray[np.generic]
) -> Agreement:
    """Compare a parent's logits ``before`` with a model's ``after``, both float ``[n, labels]``, on the same texts.

    ``labels`` name the columns; ``targets`` are int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks.
    """
    positive = positive_column(labels)
    answers, true = (predictions(task, before), predictions(task, after)), truth(targets, len(labels))
    return Agreement(
        **asdict(measure_change(metric, *answers, true, seed=0, positive=positive)),
        metric=metric,
        parent=score(metric, before, targets, positive=positive),
        quantized=score(metric, after, targets, positive=positive),
        texts=len(before),
    )


def measure_change(
    metric: str, first: Indicators, other: Indicators, true: Indicators, seed: int, *, positive: int = 1
) -> Change:
    """The change from ``first`` to ``other``; both and ``true`` are ``[n, labels]``, with the labels in one order.

    The interval of a change of accuracy is :func:`paired_interval`, which keeps its coverage on few texts. Those of F1
    and macro-F1 are paired percentile bootstraps (Efron 1979), or that of accuracy where all resamples agree.

    ``seed`` is for the bootstrap, ``positive`` the column of the label for F1.
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
    resampled = (0.0, 0.0) if metric == "accuracy" else percentile_interval(delta(resampled_sums(both, seed)))
    return Change(
        accuracy_delta=float(delta(whole)),
        ci95=resampled if resampled[0] < resampled[1] else paired_interval(first_right, other_right),
        agreement=float((first == other).all(axis=1).mean()),
        mcnemar_p=mcnemar_p(first_right, other_right),
    )


def paired_interval(first_right: npt.NDArray[np.bool_], other_right: npt.NDArray[np.bool_]) -> Interval:
    """The 95% interval of a paired difference of two shares, other minus first (Newcombe 1998, no. 10).

    Both are bool ``[n]``, on the same texts. The interval has a width even where no text tells the two apart.
    """
    n = len(first_right)
    both, neither = int((first_right & other_right).sum()), int((~first_right & ~other_right).sum())
    lost, won = int((first_right & ~other_right).sum()), int((~first_right & other_right).sum())
    before, after = (both + lost) / n, (both + won) / n
    together = float(both * neither - lost * won)
    together = max(together - n / 2, 0.0) if together > 0 else together  # the correction for continuity
    scale = n * n * np.sqrt(before * (1 - before) * after * (1 - after))
    phi = together / scale if scale else 0.0
    (low_before, high_before), (low_after, high_after) = wilson_interval(before, n), wilson_interval(after, n)

    def reach(one: float, two: float) -> float:
        return float(np.sqrt(max(0.0, one * one - 2 * phi * one * two + two * two)))

    delta = after - before
    return (
        delta - reach(after - low_after, high_before - before),
        delta + reach(high_after - after, before - low_before),
    )


def mcnemar_p(first_right: npt.NDArray[np.bool_], other_right: npt.NDArray[np.bool_]) -> float:
    """McNemar's exact test, two-sided binomial over the texts that only one of the two gets right.

    It is the chance of a split at least as uneven if both were equally good.
    """
    from scipy.stats import binomtest

    only_first = int((first_right & ~other_right).sum())
    discordant = int((first_right != other_right).sum())
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
