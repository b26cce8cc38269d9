"""One model in a process of its own: ``python -m compress.benchmark.model_server``, see compress/workers.

The first request opens the model; the others ask for logits, for the inputs of a workload and for turns of timing.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.benchmark.arrivals import serve_arrivals
from compress.benchmark.backends.opening import Row, open_row
from compress.benchmark.macs import macs_per_text, product_sizes
from compress.benchmark.resources import EnergyMeter, gpu_memory_bytes, peak_memory_bytes
from compress.benchmark.workload import Workload
from compress.clock import CudaStopwatch, Stopwatch
from compress.runtime.encoding import Encoding, Feeds, Text, pad
from compress.runtime.graph_file import GRAPHS
from compress.runtime.predictor import encoded_logits, predict_logits
from compress.workers.serving import serve
from compress.workers.timing import TimedCalls

_FIXED_FEEDS = 16
_UNTIMED_ANSWERS = 3


class ModelServer:
    """An open model and the inputs of the workload that is being timed.

    Args:
        threads: CPU threads that the model may use.
        path: the model's folder.
        **row: the other fields of :class:`compress.benchmark.backends.opening.Row`.
    """

    def __init__(self, threads: int, path: str, **row: str) -> None:
        watch = Stopwatch()
        self._predictor = open_row(Row(Path(path), **row), threads)
        self._load_ms = watch.milliseconds
        self._graph = next((file for name in GRAPHS if (file := Path(path, name)).is_file()), None)
        self._on_gpu = row["device"] == "cuda" and self._predictor.backend.startswith("torch")
        self._first_answer_ms = self._tokenizer_p50_ms = self._mean_tokens = 0.0
        self._energy = EnergyMeter.of("cuda" if self._on_gpu else "cpu")
        self._answered = 0
        self._all: list[Encoding] = []
        self._texts: list[Text] = []
        self._calls: TimedCalls[Feeds]

    def describe(self) -> dict[str, Any]:
        names = ("labels", "task", "batch_tokens", "backend", "provider", "precision", "size_bytes", "parameters")
        return {name: getattr(self._predictor, name) for name in names} | {
            "max_length": self._predictor.encoder.max_length
        }

    def first_answer(self, text: Any) -> dict[str, Any]:
        """Answer one text, with all that the libraries set up on a first call."""
        watch = Stopwatch()
        predict_logits(self._predictor, _as_texts([text]))
        self._first_answer_ms = watch.milliseconds
        return {}

    def logits(self, texts: list[Any]) -> dict[str, Any]:
        self._all = self._predictor.encoder(_as_texts(texts))
        found = encoded_logits(self._predictor, self._all).astype("<f4")
        return {"shape": found.shape, "float32": base64.b64encode(found.tobytes()).decode()}

    def prepare(self, texts: list[Any], batch: int, length: Any) -> dict[str, Any]:
        """Make a workload's inputs and run them until the times are steady; the reply is the last pass's median."""
        self._texts = _as_texts(texts)
        encodings = self._encoded(self._texts)
        workload = Workload(batch, length)
        if workload.length == "real":
            feeds = [pad([encoding]) for encoding in encodings]
        else:
            tokens = [token for encoding in encodings for token in encoding.ids]
            feeds = fixed_feeds(tokens, workload.batch, workload.length)
        self._calls = TimedCalls(self._predictor.run, feeds, CudaStopwatch if self._on_gpu else Stopwatch)
        return {"p50_ms": self._calls.warm_up()}

    def turn(self, calls: int, at_least_s: float) -> dict[str, Any]:
        """Time the next ``calls`` inputs, over and over until ``at_least_s`` has passed."""
        times_ms = self._calls.turn(calls, at_least_s, self._energy)
        self._answered += len(times_ms)
        return {"times_ms": times_ms}

    def offline(self) -> dict[str, Any]:
        """Answer all texts of the last ``logits``, in batches that hold as much as the predictor says."""
        watch = Stopwatch()
        encoded_logits(self._predictor, self._all)
        return {"seconds": watch.seconds}

    def serve(self, arrivals_s: list[float]) -> dict[str, Any]:
        """Answer the workload's texts, one at a time from the text itself, as they arrive."""

        def answer(number: int) -> None:
            text = self._texts[number % len(self._texts)]
            self._predictor.run(pad(self._predictor.encoder([text])))

        for number in range(_UNTIMED_ANSWERS):
            answer(number)
        times_ms, seconds = serve_arrivals(np.asarray(arrivals_s), answer)
        return {"times_ms": times_ms.tolist(), "seconds": seconds}

    def cost(self) -> dict[str, Any]:
        """What the model has cost so far; to be requested after the real texts and before any other workload."""
        peak = peak_memory_bytes()  # before the weights are looked at
        joules = self._energy.joules
        sizes = product_sizes(self._predictor, self._graph)
        return {
            "macs": macs_per_text(sizes, self._mean_tokens) if sizes else None,
            "mean_tokens": self._mean_tokens,
            "tokenizer_p50_ms": self._tokenizer_p50_ms,
            "load_ms": self._load_ms,
            "first_answer_ms": self._first_answer_ms,
            "peak_memory_bytes": peak,
            "peak_gpu_memory_bytes": gpu_memory_bytes() if self._on_gpu else None,
            "joules_per_text": joules / self._answered if joules is not None and self._answered else None,
        }

    def _encoded(self, texts: list[Text]) -> list[Encoding]:
        """The texts' token ids, made one text at a time, as a server makes them, and timed."""
        encodings, times_ms = [], []
        for text in texts:
            watch = Stopwatch()
            encodings += self._predictor.encoder([text])
            times_ms.append(watch.milliseconds)
        self._tokenizer_p50_ms = float(np.median(times_ms)) if times_ms else 0.0
        self._mean_tokens = float(np.mean([len(each) for each in encodings])) if encodings else 0.0
        return encodings


def fixed_feeds(tokens: Sequence[int], batch: int, length: int) -> list[Feeds]:
    """Feeds of exactly ``[batch, length]``, cut from a run of real tokens and repeated where it is too short."""
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
