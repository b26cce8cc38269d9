"""One model in a process of its own: ``python -m compress.benchmark.workers.server``, asked in JSON lines over stdin.

Sessions that share a process spoil each other's times, so each model and thread count gets one of these. The first
request opens the model; the others ask for logits, for the texts of a load, for a warm-up and for turns of timing.
Every request gets one line on stdout; whatever libraries print goes to stderr.
"""

import base64
import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from compress.benchmark.arrivals import serve
from compress.benchmark.backends.opening import open_row
from compress.benchmark.macs import weight_shapes, widths_of
from compress.benchmark.rows import Row
from compress.benchmark.workers.energy import EnergyMeter
from compress.benchmark.workers.memory import (
    ask_to_be_killed_first,
    gpu_memory_bytes,
    is_out_of_memory,
    peak_memory_bytes,
)
from compress.benchmark.workload import Workload
from compress.clock import CudaStopwatch, Stopwatch
from compress.errors import CompressError
from compress.runtime.encoding import Encoding, Feeds, Text, pad
from compress.runtime.predictor import encoded_logits, predict_logits

_FIXED_FEEDS = 16
_UNTIMED_CALLS = 3
_UNTIMED_S = 0.01
_STEADY = 1.05
_WARM_UP_TEXTS = 32
_WARM_UP_AT_MOST_S = 2.0


class ModelServer:
    """An open model and the feeds of the load that is being timed."""

    def __init__(self, threads: int, path: str, **side: str) -> None:
        watch = Stopwatch()
        self._predictor = open_row(Row(Path(path), **side), threads)
        self._load_ms = watch.milliseconds
        import compress.runtime.session  # noqa: F401 - brings onnxruntime, whose import is part of load_ms
        from compress.runtime.names import GRAPHS

        self._graph = next((file for name in GRAPHS if (file := Path(path, name)).is_file()), None)
        on_gpu = side["device"] == "cuda" and self._predictor.backend.startswith("torch")
        self._clock: type[Stopwatch | CudaStopwatch] = CudaStopwatch if on_gpu else Stopwatch
        self._first_answer_ms = self._tokenizer_p50_ms = self._mean_tokens = 0.0
        self._energy = EnergyMeter.of("cuda" if on_gpu else "cpu")
        self._joules: list[float | None] = []
        self._answered = 0
        self._all: list[Encoding] = []
        self._texts: list[Text] = []
        self._feeds: list[Feeds] = []
        self._next = 0

    def describe(self) -> dict[str, Any]:
        names = ("labels", "task", "backend", "provider", "precision", "size_bytes", "parameters")
        return {name: getattr(self._predictor, name) for name in names} | {
            "max_length": self._predictor.encoder.max_length
        }

    def first_answer(self, text: Any) -> dict[str, Any]:
        """Answer one text, whatever the libraries still have to set up."""
        watch = Stopwatch()
        predict_logits(self._predictor, _as_texts([text]))
        self._first_answer_ms = watch.milliseconds
        return {}

    def logits(self, texts: list[Any]) -> dict[str, Any]:
        self._all = self._predictor.encoder(_as_texts(texts))
        found = encoded_logits(self._predictor, self._all).astype("<f4")
        return {"shape": found.shape, "float32": base64.b64encode(found.tobytes()).decode()}

    def load(self, texts: list[Any], batch: int, length: Any) -> dict[str, Any]:
        """Take up a load and run it until its times are steady; the answer is the median of the last pass."""
        self._texts = _as_texts(texts)
        encodings = self._encoded(self._texts)
        load = Workload(batch, length)
        if load.length == "real":
            self._feeds = [pad([encoding]) for encoding in encodings]
        else:
            tokens = [token for encoding in encodings for token in encoding.ids]
            self._feeds = fixed_feeds(tokens, load.batch, load.length)
        self._next = 0
        # What lives now lives on; without this the collector would walk through it in the middle of a timed call.
        gc.collect()
        gc.freeze()
        return {"p50_ms": self._warm_up()}

    def turn(self, calls: int, at_least_s: float) -> dict[str, Any]:
        """Time the next ``calls`` feeds, over and over until ``at_least_s`` has passed."""
        block = self._block(calls)
        self._next += calls
        # Another model had the caches until now.
        self._untimed(block)
        self._energy.start()
        watch = Stopwatch()
        times_ms = self._times_ms(block)
        while watch.seconds < at_least_s:
            times_ms += self._times_ms(block)
        self._joules.append(self._energy.joules())
        self._answered += len(times_ms)
        return {"times_ms": times_ms}

    def offline(self) -> dict[str, Any]:
        """Answer all texts that logits were asked for, in batches of like length."""
        watch = Stopwatch()
        encoded_logits(self._predictor, self._all)
        return {"seconds": watch.seconds}

    def serve(self, arrivals_s: list[float]) -> dict[str, Any]:
        """Answer the load's texts, one at a time from the text itself, as they arrive."""

        def answer(number: int) -> None:
            text = self._texts[number % len(self._texts)]
            self._predictor.run(pad(self._predictor.encoder([text])))

        for number in range(_UNTIMED_CALLS):
            answer(number)
        times_ms, seconds = serve(np.asarray(arrivals_s), answer)
        return {"times_ms": times_ms.tolist(), "seconds": seconds}

    def account(self) -> dict[str, Any]:
        """What the model cost up to now; asked for after the real texts, before the turns of any other load."""
        peak = peak_memory_bytes()  # before the weights are looked at
        joules = [used for used in self._joules if used is not None]
        widths = widths_of(weight_shapes(self._predictor, self._graph), onnx=self._graph is not None)
        return {
            "mean_tokens": self._mean_tokens,
            "tokenizer_p50_ms": self._tokenizer_p50_ms,
            "load_ms": self._load_ms,
            "first_answer_ms": self._first_answer_ms,
            "peak_memory_bytes": peak,
            "peak_gpu_memory_bytes": gpu_memory_bytes() if self._clock is CudaStopwatch else None,
            "joules_per_text": sum(joules) / self._answered if joules and len(joules) == len(self._joules) else None,
            "widths": asdict(widths) if widths else None,
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

    def _untimed(self, block: list[Feeds]) -> None:
        """At least 3 calls and 0.01 s, until threads are awake and the weights are in the caches again."""
        watch = Stopwatch()
        for number, feeds in enumerate(cycle(reversed(block))):
            if number >= _UNTIMED_CALLS and watch.seconds > _UNTIMED_S:
                return
            self._predictor.run(feeds)

    def _block(self, calls: int) -> list[Feeds]:
        return [self._feeds[(self._next + step) % len(self._feeds)] for step in range(calls)]

    def _warm_up(self) -> float:
        block = self._block(min(_WARM_UP_TEXTS, len(self._feeds)))
        self._median_ms(block)  # a compiler may have worked for a minute, which is not to count
        watch = Stopwatch()
        before_ms, now_ms = float("inf"), self._median_ms(block)
        while before_ms > now_ms * _STEADY and watch.seconds < _WARM_UP_AT_MOST_S:
            before_ms, now_ms = now_ms, self._median_ms(block)
        return now_ms

    def _median_ms(self, block: list[Feeds]) -> float:
        """Of the block's calls, or of those that two seconds are enough for: a batch of a thousand takes its time."""
        watch, times_ms = Stopwatch(), []
        for feeds in block:
            times_ms += self._times_ms([feeds])
            if watch.seconds > _WARM_UP_AT_MOST_S:
                break
        return float(np.median(times_ms))

    def _times_ms(self, block: list[Feeds]) -> list[float]:
        times_ms = []
        gc.disable()
        for feeds in block:
            watch = self._clock()
            self._predictor.run(feeds)
            times_ms.append(watch.milliseconds)
        gc.enable()
        return times_ms


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


def _keep_stdout_for_replies() -> TextIO:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main() -> None:
    """Answer requests until stdin ends; anything but a :class:`CompressError` ends the process with its traceback."""
    replies = _keep_stdout_for_replies()
    ask_to_be_killed_first()

    def answer(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    try:
        session = ModelServer(**json.loads(sys.stdin.readline()))
        answer(session.describe())
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer(getattr(session, request.pop("do"))(**request))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                answer({"does_not_fit": f"out of memory ({str(error).partition(chr(10))[0] or type(error).__name__})"})
    except CompressError as error:
        answer({"error": str(error)})


if __name__ == "__main__":
    main()
