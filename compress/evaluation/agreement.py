"""What quantization changed: the int8 model's answers against its parent's on validation texts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.data import Split
from compress.evaluation.accuracy import Interval, measure_change
from compress.evaluation.metrics import Indicators, default_metric, predictions, score, truth
from compress.progress import progress
from compress.runtime.encoding import Encoding
from compress.runtime.predictor import Logits, Predictor, encoded_logits
from compress.task import is_multi_label


@dataclass(frozen=True)
class Agreement:
    """Two models on the same texts.

    Attributes:
        metric: accuracy, or macro_f1 for multi-label tasks.
        parent: the parent's metric, a fraction.
        quantized: the quantized model's metric.
        accuracy_delta: ``quantized`` minus ``parent``, a fraction; below 0 where quantization lost.
        ci95: 95% interval of the delta, from a paired bootstrap over the texts.
        mcnemar_p: McNemar's exact test of the texts that only one of the two answers rightly.
        agreement: share of texts to which both give the same answer.
        flips: answers that changed, ``"from -> to"`` and on how many texts; in multi-label tasks by label,
            ``"label -> not label"`` and back.
        texts: how many texts were compared.
    """

    metric: str
    parent: float
    quantized: float
    accuracy_delta: float
    ci95: Interval
    mcnemar_p: float
    agreement: float
    flips: dict[str, int]
    texts: int

    @property
    def drop_points(self) -> float:
        """Points lost against the parent; below 0 where it gained."""
        return 100 * (self.parent - self.quantized)

    def is_within(self, max_drop: float) -> bool:
        """Whether it lost no more than ``max_drop`` points; the smallest of rounding errors is not a loss."""
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


@dataclass(frozen=True)
class ReferenceOutputs:
    """Texts with the parent's answers, to hold quantized models against."""

    parent: Predictor
    encodings: Sequence[Encoding]
    targets: npt.NDArray[np.generic]
    logits: Logits

    def sample(self, texts: int) -> "ReferenceOutputs":
        """The same with at most so many texts, evenly spaced: files may be sorted by label."""
        rows = np.unique(np.linspace(0, len(self.encodings) - 1, texts).round().astype(int))
        return ReferenceOutputs(
            self.parent, [self.encodings[row] for row in rows], self.targets[rows], self.logits[rows]
        )

    def agreement(self, quantized: Predictor) -> Agreement:
        """``quantized`` on every text."""
        with progress("validation", len(self.encodings)) as advance:
            logits = encoded_logits(quantized, self.encodings, advance)
        return compare_logits(self.parent.task, self.parent.labels, self.logits, logits, self.targets)


def reference_outputs(parent: Predictor, split: Split) -> ReferenceOutputs:
    """The parent's logits on every text of ``split``."""
    encodings = parent.encoder(split.texts)
    with progress("parent", len(encodings)) as advance:
        logits = encoded_logits(parent, encodings, advance)
    return ReferenceOutputs(parent, encodings, split.targets(parent.labels, parent.task), logits)


def compare_logits(
    task: str, labels: Sequence[str], before: Logits, after: Logits, targets: npt.NDArray[np.generic]
) -> Agreement:
    """The parent's logits ``before`` and the quantized model's ``after``, both ``[n, labels]``, on the same texts.

    Args:
        task: the task's name.
        labels: the label of each column.
        before: float ``[n, labels]``.
        after: float ``[n, labels]``.
        targets: int64 ``[n]``, or float32 ``[n, labels]`` in multi-label tasks.
    """
    metric = default_metric(task)
    answered_before, answered_after = predictions(task, before), predictions(task, after)
    change = measure_change(metric, answered_before, answered_after, truth(targets, len(labels)), seed=0)
    return Agreement(
        metric=metric,
        parent=score(metric, before, targets),
        quantized=score(metric, after, targets),
        accuracy_delta=change.accuracy_delta,
        ci95=change.ci95,
        mcnemar_p=change.mcnemar_p,
        agreement=change.agreement,
        flips=_flips(task, labels, answered_before, answered_after),
        texts=len(before),
    )


def _flips(task: str, labels: Sequence[str], before: Indicators, after: Indicators) -> dict[str, int]:
    """How often each label gave way to each other, the most frequent first."""
    if is_multi_label(task):
        lost = Counter(
            {f"{label} -> not {label}": int((before & ~after)[:, i].sum()) for i, label in enumerate(labels)}
        )
        won = Counter({f"not {label} -> {label}": int((~before & after)[:, i].sum()) for i, label in enumerate(labels)})
        return dict((lost + won).most_common())
    rows = np.flatnonzero((before != after).any(axis=1))
    pairs = zip(before[rows].argmax(axis=1).tolist(), after[rows].argmax(axis=1).tolist(), strict=True)
    return dict(Counter(f"{labels[one]} -> {labels[other]}" for one, other in pairs).most_common())
