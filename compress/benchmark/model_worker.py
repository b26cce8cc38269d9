"""One model on some CPU threads in a process of its own, seen from outside; ``model_server`` runs inside."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from compress.benchmark.cost import Cost
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, Times, Workload
from compress.runtime.decision import Decision
from compress.runtime.encoding import Text
from compress.runtime.predictor import Logits
from compress.workers.process import Worker


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a worker says about the model that it has opened."""

    labels: tuple[str, ...]
    task: str
    max_length: int
    batch_tokens: int
    backend: str
    provider: str | None
    precision: str
    size_bytes: int
    parameters: int
    decision: Decision = field(default_factory=Decision)
    hand_on_below: float | None = None  # a cascade's: the score of its small model below which the large one answers


class ModelWorker(Worker):
    """A process for one model, which starts at once and opens the model when :meth:`open` asks.

    Every request raises :class:`compress.workers.process.WorkerError` where the worker refuses it or has died.
    """

    def __init__(self, name: str, row: Row, threads: int) -> None:
        super().__init__("compress.benchmark.model_server", threads)
        self.name = name
        self.workload: Workload = REAL
        self._row, self._threads = row, threads

    def restarted(self) -> "ModelWorker":
        """A fresh process for the same model; this one ends."""
        self.close()
        return ModelWorker(self.name, self._row, self._threads)

    def open(self) -> ModelInfo:
        """Open the model; callers open one worker after the other, since loading in parallel slows each."""
        reply = self.ask(**asdict(self._row) | {"path": str(self._row.path), "threads": self._threads})
        decision = Decision(**reply["decision"])
        return ModelInfo(**reply | {"labels": tuple(reply["labels"]), "decision": decision})

    def first_answer(self, text: Text) -> None:
        """Answer one text; how long it took is part of :meth:`cost`."""
        self.ask(do="first_answer", text=text)

    def logits(self, texts: Sequence[Text]) -> Logits:
        """Logits of each text, float32 ``[len(texts), labels]``."""
        reply = self.ask(do="logits", texts=list(texts))
        flat = np.frombuffer(base64.b64decode(reply["float32"]), dtype="<f4")
        return flat.reshape(reply["shape"]).astype(np.float32)

    def handed_on(self) -> list[int]:
        """The rows, among the texts of the last :meth:`logits`, that a cascade hands on to its large model."""
        return list(self.ask(do="handed_on")["rows"])

    def prepare(self, workload: Workload, texts: Sequence[Text]) -> float:
        """Make the inputs of ``workload`` and warm up; returns the last pass's median time in milliseconds."""
        self.workload = workload
        reply = self.ask(do="prepare", texts=list(texts), batch=workload.batch, length=workload.length)
        return float(reply["p50_ms"])

    def turn(self, calls: int, at_least_s: float) -> Times:
        """Times in milliseconds of the next ``calls`` calls, all of them repeated until ``at_least_s`` has passed."""
        return np.asarray(self.ask(do="turn", calls=calls, at_least_s=at_least_s)["times_ms"])

    def offline(self) -> float:
        """Seconds that the model needs for the texts of the last :meth:`logits`, in its own batches."""
        return float(self.ask(do="offline")["seconds"])

    def serve(self, arrivals_s: Times) -> tuple[Times, float]:
        """Answer the workload's texts as they arrive; milliseconds from arrival to answer, and the seconds in all."""
        reply = self.ask(do="serve", arrivals_s=arrivals_s.tolist())
        return np.asarray(reply["times_ms"]), float(reply["seconds"])

    def cost(self) -> Cost:
        """The model's cost so far, without its price."""
        return Cost(**self.ask(do="cost"))
