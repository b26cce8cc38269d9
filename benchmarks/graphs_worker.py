"""One model in a process of its own for graphs.py: ``python -m benchmarks.graphs_worker MODEL THREADS``, JSON lines.

A ``.xml`` runs in OpenVINO, in its own environment; anything else in ONNX Runtime, in a session such as ours.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.clock import Stopwatch

Feeds = dict[str, npt.NDArray[Any]]
_UNTIMED_CALLS = 1


class OnnxModel:
    """A graph in ONNX Runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        from compress.runtime.session import open_session

        self._path, self._threads = path, threads
        self._session = open_session(path, threads)

    def feeds(self, ids: list[list[int]]) -> Feeds:
        """A classifier's inputs; for the floor's graph random bytes for as many ``tokens`` or ``texts``."""
        known = token_feeds(ids)
        rows = {"tokens": sum(map(len, ids)), "texts": len(ids)}
        random = np.random.default_rng(0)
        return {
            one.name: known[one.name]
            if one.name in known
            else random.integers(0, 256, (rows[one.shape[0]], one.shape[1])).astype(np.uint8)
            for one in self._session.get_inputs()
        }

    def run(self, feeds: Feeds) -> Any:
        return self._session.run(None, feeds)[0]

    def profile(self, feeds: Feeds, calls: int) -> dict[str, float]:
        """Milliseconds of a run by operator, as ONNX Runtime's own profiler has them."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.enable_profiling, options.log_severity_level = True, 3
        options.profile_file_prefix = str(self._path.with_suffix(".profile"))
        session = ort.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])
        for _ in range(calls + _UNTIMED_CALLS):
            session.run(None, feeds)
        written = Path(session.end_profiling())
        events = json.loads(written.read_text(encoding="utf-8"))
        written.unlink()
        spent_us: dict[tuple[str, str], list[float]] = defaultdict(list)
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                spent_us[event["args"]["op_name"], event["name"]].append(event["dur"])
        by_operator: dict[str, float] = defaultdict(float)
        for (kind, _), times_us in spent_us.items():
            by_operator[kind] += median(times_us[_UNTIMED_CALLS:]) / 1000
        return dict(sorted(by_operator.items(), key=lambda item: -item[1]))


class OpenVinoModel:
    """A model in OpenVINO, on its latency hint."""

    def __init__(self, path: Path, threads: int) -> None:
        import openvino  # only in the peer's environment

        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        self._compiled = openvino.Core().compile_model(path, "CPU", options)
        self._profiled: Callable[[], Any] = lambda: openvino.Core().compile_model(
            path, "CPU", options | {"PERF_COUNT": True}
        )
        self._request = self._compiled.create_infer_request()

    def feeds(self, ids: list[list[int]]) -> Feeds:
        return token_feeds(ids)

    def run(self, feeds: Feeds) -> Any:
        return self._request.infer(feeds)[0]

    def profile(self, feeds: Feeds, calls: int) -> dict[str, float]:
        """Milliseconds of the last run by kind of node, as OpenVINO counts them."""
        request = self._profiled().create_infer_request()
        for _ in range(calls + _UNTIMED_CALLS):
            request.infer(feeds)
        by_kind: dict[str, float] = defaultdict(float)
        for node in request.get_profiling_info():
            by_kind[node.node_type] += node.real_time.total_seconds() * 1000
        return dict(sorted(((kind, ms) for kind, ms in by_kind.items() if ms > 0), key=lambda item: -item[1]))


def token_feeds(ids: list[list[int]]) -> Feeds:
    """A batch of texts of one length, unpadded."""
    rows = np.array(ids, dtype=np.int64)
    return {"input_ids": rows, "attention_mask": np.ones_like(rows), "token_type_ids": np.zeros_like(rows)}


class Timer:
    """A model and the batches that it is timed on."""

    def __init__(self, path: Path, threads: int) -> None:
        self._model: OpenVinoModel | OnnxModel = (
            OpenVinoModel(path, threads) if path.suffix == ".xml" else OnnxModel(path, threads)
        )
        self._feeds: list[Feeds] = []
        self._next = 0

    def load(self, batches: list[list[list[int]]]) -> list[int]:
        """Take up batches and run each once; the answers' classes."""
        self._feeds, self._next = [self._model.feeds(ids) for ids in batches], 0
        return [int(np.argmax(self._model.run(feeds)[0])) for feeds in self._feeds]

    def turn(self, calls: int) -> list[float]:
        """Milliseconds of the next ``calls`` batches."""
        block = [self._feeds[(self._next + step) % len(self._feeds)] for step in range(calls)]
        self._next += calls
        for feeds in block[:_UNTIMED_CALLS]:  # another model had the caches until now
            self._model.run(feeds)
        times_ms = []
        for feeds in block:
            watch = Stopwatch()
            self._model.run(feeds)
            times_ms.append(watch.milliseconds)
        return times_ms

    def profile(self, calls: int) -> Mapping[str, float]:
        """Milliseconds by operator on the first batch."""
        return self._model.profile(self._feeds[0], calls)


def main() -> None:
    """Answer requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print
    timer = Timer(Path(sys.argv[1]), int(sys.argv[2]))
    for line in sys.stdin:
        request = json.loads(line)
        do: Callable[..., Any] = getattr(timer, request.pop("do"))
        replies.write(json.dumps(do(**request)) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
