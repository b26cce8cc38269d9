"""A benchmark's worker as its parent sees it: one model on some CPU threads, in a process of its own."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from compress.benchmark.arrivals import Seconds
from compress.benchmark.backends.opening import Row
from compress.benchmark.workload import REAL, Times, Workload
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


@dataclass(frozen=True, slots=True)
class Cost:
    """None where this machine or model does not show a figure.

    Attributes:
        macs: multiply-accumulates of a text of ``mean_tokens`` tokens.
        mean_tokens: the mean length of the timed texts.
        tokenizer_p50_ms: the median time to make a text's token ids; not part of the latency.
        load_ms: importing the runtime and opening the model, with its files in the system's cache or not.
        first_answer_ms: the first text through tokenizer and model.
        peak_memory_bytes: the most that the worker held, answering the test split in batches included.
        peak_gpu_memory_bytes: the most that its tensors held on the GPU.
        joules_per_text: of all CPU packages whose counters may be read, and of the GPU of a model that ran there, while
            this model answered texts one at a time; idle cores are included.
        price_per_million_texts: at the best throughput measured, in the currency of the price that was given.
    """

    macs: int | None
    mean_tokens: float
    tokenizer_p50_ms: float
    load_ms: float
    first_answer_ms: float
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: int | None
    joules_per_text: float | None
    price_per_million_texts: float | None = None


class ModelWorker(Worker):
    """A process for one model: it starts at once, and opens the model when :meth:`open` asks it to.

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
        """Open the model; the caller asks one worker after the other, since loads side by side slow each other."""
        reply = self.ask(**asdict(self._row) | {"path": str(self._row.path), "threads": self._threads})
        return ModelInfo(**reply | {"labels": tuple(reply["labels"])})

    def first_answer(self, text: Text) -> None:
        """Answer one text; how long it took is part of :meth:`cost`."""
        self.ask(do="first_answer", text=text)

    def logits(self, texts: Sequence[Text]) -> Logits:
        """Logits of each text, float32 ``[len(texts), labels]``."""
        reply = self.ask(do="logits", texts=list(texts))
        flat = np.frombuffer(base64.b64decode(reply["float32"]), dtype="<f4")
        return flat.reshape(reply["shape"]).astype(np.float32)

    def prepare(self, workload: Workload, texts: Sequence[Text]) -> float:
        """Make the inputs of ``workload`` and warm up; the median time in milliseconds that this ended with."""
        self.workload = workload
        reply = self.ask(do="prepare", texts=list(texts), batch=workload.batch, length=workload.length)
        return float(reply["p50_ms"])

    def turn(self, calls: int, at_least_s: float) -> Times:
        """Times in milliseconds of the next ``calls`` calls, all of them repeated until ``at_least_s`` has passed."""
        return np.asarray(self.ask(do="turn", calls=calls, at_least_s=at_least_s)["times_ms"])

    def offline(self) -> float:
        """Seconds that the model needs for the texts of the last :meth:`logits`, in batches as it likes them."""
        return float(self.ask(do="offline")["seconds"])

    def serve(self, arrivals_s: Seconds) -> tuple[Times, float]:
        """Answer the workload's texts as they arrive; milliseconds from arrival to answer, and seconds in all."""
        reply = self.ask(do="serve", arrivals_s=arrivals_s.tolist())
        return np.asarray(reply["times_ms"]), float(reply["seconds"])

    def cost(self) -> Cost:
        """What the model has cost so far, its price aside."""
        return Cost(**self.ask(do="cost"))
