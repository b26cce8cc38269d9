"""What quantization changed: the int8 model's answers against its parent's on validation texts."""

from dataclasses import dataclass

import numpy as np

from compress.data import Split
from compress.errors import CompressError
from compress.metrics import default_metric, predictions, score
from compress.progress import progress
from compress.runtime.predictor import Predictor, encoded_logits


@dataclass(frozen=True)
class Agreement:
    """Two models on the same texts.

    Attributes:
        metric: accuracy, or macro_f1 for multi-label tasks.
        parent: the parent's metric, a fraction.
        quantized: the quantized model's metric.
        agreement: share of texts to which both give the same answer.
        texts: how many texts were compared.
    """

    metric: str
    parent: float
    quantized: float
    agreement: float
    texts: int

    @property
    def drop_points(self) -> float:
        """Points lost against the parent; below 0 where it gained."""
        return 100 * (self.parent - self.quantized)

    def require(self, max_drop: float | None) -> None:
        """Refuse a model that lost more than ``max_drop`` points."""
        if max_drop is not None and self.drop_points > max_drop:
            raise CompressError(
                f"quantize: {self.metric} on {self.texts} validation texts falls by {self.drop_points:.2f} points "
                f"({100 * self.parent:.2f} to {100 * self.quantized:.2f}), --max-drop allows {max_drop:g}; "
                "nothing was written, allow more or serve the fp32 model"
            )


def measure_agreement(parent: Predictor, quantized: Predictor, split: Split) -> Agreement:
    """Both models on every text of ``split``."""
    encodings = parent.encoder(split.texts)
    targets = split.targets(parent.labels, parent.task)
    with progress("validation", 2 * len(encodings)) as advance:
        before = encoded_logits(parent, encodings, advance)
        after = encoded_logits(quantized, encodings, advance)
    metric = default_metric(parent.task)
    same = (predictions(parent.task, before) == predictions(parent.task, after)).all(axis=1)
    return Agreement(
        metric=metric,
        parent=score(metric, before, targets),
        quantized=score(metric, after, targets),
        agreement=float(np.mean(same)),
        texts=len(split),
    )
