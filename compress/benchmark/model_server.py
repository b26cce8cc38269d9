"""The program in the process of a :class:`compress.benchmark.model_worker.ModelWorker`: ``python -m`` this module.

The first request opens the model, and only it imports a runtime; later requests ask for logits, for the inputs of a
workload and for turns of timing.
"""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from compress.benchmark.cost import gpu_memory_bytes, macs_per_text, peak_memory_bytes, product_sizes
from compress.benchmark.energy import EnergyMeter
from compress.benchmark.rows import Row, open_row
from compress.benchmark.workload import Times
from compress.clock import CudaStopwatch, Stopwatch
from compress.evaluation.metrics import predictions
from compress.runtime.decision import Decision
from compress.runtime.encoding import Encoding, Feeds, Text, pad
from compress.runtime.predictor import (
    Logits,
    MeasuredPredictor,
    by_length,
    check_finite,
    encoded_logits,
    predict_logits,
)
from compress.workers.process import serve
from compress.workers.timing import TimedCalls

if TYPE_CHECKING:
    from compress.benchmark.backends.cascade import CascadePredictor

_FIXED_FEEDS = 16
_UNTIMED_ANSWERS = 3
_SERVED_AT_MOST = 2.0  # times the time until the last arrival
_SPUN_S = 0.001


class ModelServer:
    """The open model of the :class:`Row` with these fields, and the inputs of the workload being timed."""

    def __init__(self, threads: int, path: str, **row: str) -> None:
        watch = Stopwatch()
        self._predictor = open_row(Row(Path(path), **row), threads)
        self._load_ms = watch.milliseconds
        self._folder = Path(path)
        self._on_gpu = row["device"] == "cuda" and self._predictor.backend.startswith("torch")
        self._first_answer_ms = self._tokenizer_p50_ms = self._mean_tokens = 0.0
        self._rows_per_text = 1.0
        self._energy = EnergyMeter.of(gpu=self._on_gpu)
        self._answered = 0
        self._cascade = _as_cascade(self._predictor)
        # A cascade is given texts, since each of its models has its own tokenizer; other models are given token ids.
        self._tokenized: Callable[[list[Text]], list[Any]] = list if self._cascade else self._predictor.encoder
        self._logits: Callable[[list[Any]], Logits] = (
            self._cascade.classifier.logits if self._cascade else partial(encoded_logits, self._predictor)
        )
        self._all: list[Any] = []
        self._texts: list[Text] = []
        self._calls: TimedCalls[Any]

    def describe(self) -> dict[str, Any]:
        names = ("labels", "task", "batch_tokens", "backend", "provider", "precision", "size_bytes", "parameters")
        return {name: getattr(self._predictor, name) for name in names} | {
            "max_length": self._predictor.encoder.max_length,
            "decision": asdict(getattr(self._predictor, "decision", Decision())),  # folders of ours may have one
            "hand_on_below": getattr(self._predictor, "hand_on_below", None),  # of a cascade
        }

    def first_answer(self, text: Any) -> dict[str, Any]:
        """Answer one text, with all that the libraries set up on a first call."""
        watch = Stopwatch()
        self._logits(self._tokenized(_as_texts([text])))
        self._first_answer_ms = watch.milliseconds
        return {}

    def logits(self, texts: list[Any]) -> dict[str, Any]:
        self._all = self._tokenized(_as_texts(texts))
        logits = check_finite(self._logits(self._all), "its model").astype("<f4")
        return {"shape": logits.shape, "float32": base64.b64encode(logits.tobytes()).decode()}

    def handed_on(self) -> dict[str, Any]:
        """Rows of the texts of the last ``logits`` that a cascade's large model answers."""
        return {"rows": self._cascade.handed_on(self._all) if self._cascade else []}

    def prepare(self, texts: list[Any], batch: int, length: Any) -> dict[str, Any]:
        """Make a workload's inputs and run them until the times are steady; the reply is the last pass's median."""
        self._texts = _as_texts(texts)
        if length == "answer":
            self._calls = TimedCalls(answer_of(self._predictor), self._texts)
            return {"p50_ms": self._calls.warm_up()}
        encodings, times_ms = [], []
        for text in self._texts:  # one at a time, as a server tokenizes them
            watch = Stopwatch()
            encodings += self._predictor.encoder([text])
            times_ms.append(watch.milliseconds)
        self._tokenizer_p50_ms = float(np.median(times_ms)) if times_ms else 0.0
        self._mean_tokens = float(np.mean([len(each) for each in encodings])) if encodings else 0.0
        if self._cascade:  # the times include its tokenizers
            self._calls = TimedCalls(self._logits, [[text] for text in self._texts])
            return {"p50_ms": self._calls.warm_up()}
        if length == "real":
            inputs = [list(self._feeds_of(encoding)) for encoding in encodings]
            self._rows_per_text = float(np.mean([len(encoding.rows) for encoding in encodings])) if encodings else 1.0
        else:
            tokens = [token for encoding in encodings for token in encoding.ids]
            inputs = [[feeds] for feeds in fixed_feeds(tokens, batch, length)]
        self._calls = TimedCalls(self._run_all, inputs, CudaStopwatch if self._on_gpu else Stopwatch)
        return {"p50_ms": self._calls.warm_up()}

    def _feeds_of(self, encoding: Encoding) -> Iterator[Feeds]:
        """The batches in which a server runs one text; more than one only for a text in windows."""
        rows = encoding.rows
        for batch in by_length(list(map(len, rows)), self._predictor.batch_tokens):
            yield pad([rows[row] for row in batch])

    def _run_all(self, batches: list[Feeds]) -> None:
        for feeds in batches:
            self._predictor.run(feeds)

    def turn(self, calls: int, at_least_s: float) -> dict[str, Any]:
        """Time the next ``calls`` inputs, over and over until ``at_least_s`` has passed."""
        times_ms = self._calls.turn(calls, at_least_s, self._energy)
        self._answered += len(times_ms)
        return {"times_ms": times_ms}

    def offline(self) -> dict[str, Any]:
        """Answer all texts of the last ``logits``, in batches of the predictor's ``batch_tokens``."""
        watch = Stopwatch()
        self._logits(self._all)
        return {"seconds": watch.seconds}

    def serve(self, arrivals_s: list[float]) -> dict[str, Any]:
        """Answer the workload's texts as they arrive, one at a time, tokenizer included."""

        def answer(number: int) -> None:
            text = self._texts[number % len(self._texts)]
            self._logits(self._tokenized([text]))

        for number in range(_UNTIMED_ANSWERS):
            answer(number)
        times_ms, seconds = serve_arrivals(np.asarray(arrivals_s), answer)
        return {"times_ms": times_ms.tolist(), "seconds": seconds}

    def cost(self) -> dict[str, Any]:
        """The model's cost so far; to be requested after the real texts and before any other workload."""
        peak = peak_memory_bytes()  # before product_sizes reads the weights
        joules = self._energy.joules
        sizes, rows = product_sizes(self._predictor, self._folder), self._rows_per_text
        return {
            "macs": round(rows * macs_per_text(sizes, self._mean_tokens / rows)) if sizes else None,
            "mean_tokens": self._mean_tokens,
            "tokenizer_p50_ms": self._tokenizer_p50_ms,
            "load_ms": self._load_ms,
            "first_answer_ms": self._first_answer_ms,
            "peak_memory_bytes": peak,
            "peak_gpu_memory_bytes": gpu_memory_bytes() if self._on_gpu else None,
            "joules_per_text": joules / self._answered if joules is not None and self._answered else None,
        }


def _as_cascade(predictor: MeasuredPredictor) -> "CascadePredictor | None":
    """A cascade is known by its attribute: importing the class would import onnxruntime for every model."""
    return cast("CascadePredictor", predictor) if hasattr(predictor, "hand_on_below") else None


def answer_of(predictor: MeasuredPredictor) -> Callable[[Text], object]:
    """The call from a text to its label as an app makes it: :func:`compress.load`'s, or that of PyTorch's users."""
    if cascade := _as_cascade(predictor):
        return cascade.classifier
    if predictor.backend == "onnxruntime":
        from compress.runtime.classifier import Classifier
        from compress.runtime.session import OnnxPredictor

        if isinstance(predictor, OnnxPredictor):  # and not another program's file
            return Classifier(predictor)
    encode = getattr(predictor, "feeds_of", None) if predictor.encoder.long_texts.head_alone else None

    def answer(text: Text) -> list[str]:
        logits = predictor.run(encode(text)) if encode else predict_logits(predictor, [text])
        (applies,) = predictions(predictor.task, logits)
        return [label for label, applies_here in zip(predictor.labels, applies, strict=True) if applies_here]

    return answer


def serve_arrivals(arrivals_s: Times, answer: Callable[[int], None]) -> tuple[Times, float]:
    """Answer each arrival in order, none before its time, until all are answered or twice their time has passed.

    The first is always answered.

    Returns the milliseconds from arrival to answer of each answered text, ``[answered]``, and the seconds in all.
    """
    times_ms: list[float] = []
    watch = Stopwatch()
    for number, arrival_s in enumerate(arrivals_s.tolist()):
        if times_ms and watch.seconds > _SERVED_AT_MOST * arrivals_s[-1]:
            break
        while (left_s := arrival_s - watch.seconds) > 0:
            if left_s > _SPUN_S:  # the last millisecond is spent in this loop, since sleep would overshoot it
                time.sleep(left_s - _SPUN_S)
        answer(number)
        times_ms.append(1000 * (watch.seconds - arrival_s))
    return np.asarray(times_ms), watch.seconds


def fixed_feeds(tokens: Sequence[int], batch: int, length: int) -> list[Feeds]:
    """Feeds of exactly ``[batch, length]``, cut from a run of real tokens, which is repeated if it is too short."""
    ids = np.resize(np.asarray(tokens, dtype=np.int64), (_FIXED_FEEDS, batch, length))
    ids[:, :, 0], ids[:, :, -1] = tokens[0], tokens[-1]
    return [
        {"input_ids": rows, "attention_mask": np.ones_like(rows), "token_type_ids": np.zeros_like(rows)} for rows in ids
    ]


def _as_texts(texts: list[Any]) -> list[Text]:
    """JSON has no tuples: a pair of texts arrives as a list."""
    return [text if isinstance(text, str) else (text[0], text[1]) for text in texts]


if __name__ == "__main__":
    serve(ModelServer)
