"""The validation texts with the fp32 parent's logits, and graphs in memory that are compared with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compress.data import Split
from compress.evaluation.comparison import Agreement, compare_logits
from compress.evaluation.metrics import choose_metric
from compress.graph.writer import rewrite
from compress.progress import progress
from compress.runtime.encoding import Encoding, Feeds
from compress.runtime.graph_file import OUTPUT
from compress.runtime.predictor import Logits, Predictor, batch_tokens_of, check_finite, encoded_logits
from compress.runtime.session import inputs_of, open_session

Watch = Callable[[Sequence[npt.NDArray[Any]]], None]


@dataclass(frozen=True)
class ReferenceOutputs:
    """Texts with the fp32 parent's answers, with which quantized models are compared by ``metric``."""

    parent: Predictor
    encodings: Sequence[Encoding]
    targets: npt.NDArray[np.generic]  # int64 [n], or float32 [n, labels] in multi-label tasks
    logits: Logits  # of the parent, float32 [n, labels]
    metric: str

    def sample(self, texts: int) -> "ReferenceOutputs":
        """A sample of at most ``texts`` texts, evenly spaced: files may be sorted by label."""
        rows = evenly(len(self.encodings), texts)
        encodings = [self.encodings[row] for row in rows]
        return ReferenceOutputs(self.parent, encodings, self.targets[rows], self.logits[rows], self.metric)

    def answers(self, quantized: Predictor) -> Logits:
        """The logits of ``quantized`` on every text."""
        return answered("validation", quantized, self.encodings, "quantize: the int8 model")

    def agreement(self, logits: Logits) -> Agreement:
        """A quantized model's ``logits`` on every text against the parent's."""
        parent = self.parent
        return compare_logits(self.metric, parent.task, parent.labels, self.logits, logits, self.targets)


def answered(title: str, predictor: Predictor, encodings: Sequence[Encoding], model: str) -> Logits:
    """The logits of each text, behind a progress bar of this ``title``; errors call the predictor ``model``."""
    with progress(title, len(encodings)) as advance:
        return check_finite(encoded_logits(predictor, encodings, advance), model)


def evenly(count: int, at_most: int) -> list[int]:
    """The indices of at most ``at_most`` of ``count`` rows, evenly spaced from the first to the last."""
    return list(map(int, np.unique(np.linspace(0, count - 1, at_most).round())))


def reference_outputs(parent: Predictor, split: Split, metric: str | None = None) -> ReferenceOutputs:
    """The parent's logits on every text of ``split``, to compare by ``metric`` (default: the task's).

    A metric that the task does not have is refused before the first answer.
    """
    metric = choose_metric(metric, parent.task, len(parent.labels))
    encodings = parent.encoder(split.texts)
    logits = answered("parent", parent, encodings, "quantize: the model given")
    return ReferenceOutputs(parent, encodings, split.targets(parent.labels, parent.task), logits, metric)


class Candidate:
    """A graph in memory as a predictor with its parent's tokenizer, to judge it before anything is written.

    It answers in the batches in which it will be served. With ``watch`` it takes one text at a time, and calls
    ``watch`` after each with the arrays of ``outputs``, values that are read besides the logits.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        parent: Predictor,
        threads: int,
        outputs: Sequence[str] = (),
        watch: Watch | None = None,
    ) -> None:
        self.task, self.labels, self.encoder = parent.task, parent.labels, parent.encoder
        kinds = {node.op_type for node in model.graph.node}
        self.batch_tokens = 1 if watch else batch_tokens_of(kinds)  # padding must not be watched
        self._session = open_session(rewrite(model, outputs=outputs).SerializeToString(), threads)
        self._inputs = inputs_of(self._session)
        self._outputs, self._watch = [OUTPUT, *outputs], watch

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        logits, *watched = self._session.run(self._outputs, {name: feeds[name] for name in self._inputs})
        if self._watch is not None:
            self._watch(watched)
        return np.asarray(logits, dtype=np.float32)
