"""A graph in memory as a predictor, to judge it before anything is written."""

import numpy as np
import onnx

from compress.runtime.encoding import Feeds
from compress.runtime.predictor import Logits, Predictor
from compress.runtime.session import open_session


class Candidate:
    """Runs ``model``, which has the task, labels and tokenizer of ``parent``."""

    batch_tokens = 1  # as it will be served: dynamic int8 scales activations over the whole batch

    def __init__(self, model: onnx.ModelProto, parent: Predictor, threads: int) -> None:
        self.task, self.labels, self.encoder = parent.task, parent.labels, parent.encoder
        self._session = open_session(model.SerializeToString(), threads)

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        return np.asarray(self._session.run(["logits"], feeds)[0], dtype=np.float32)
