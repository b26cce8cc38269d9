"""bench's latency against clocks that are not ours: a hand-written loop, and onnxruntime's own profile.

python -m benchmarks.outside_clock MODEL... --data DIR [--threads 1] [--rounds 20]

For each ONNX model three processes take turns over the same test texts, one at a time: bench's worker, ``LOOP`` below,
which uses nothing of this project, and the same loop with onnxruntime's profiling on. The medians should be within 5%
of bench's. Profiling writes an event a node and call, which slows what it measures; so ``profile`` compares the
profile's ``model_run`` with the loop's own clock around the very same calls. Figures go to
``results/outside_clock.jsonl``, one line a model.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.kept import RESULTS, about
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, Times
from compress.config import DataConfig
from compress.data.read import read_test
from compress.folder import read_manifest
from compress.runtime.graph_file import choose_graph
from compress.workers.timing import in_turn

KEPT = RESULTS / "outside_clock.jsonl"
TEXTS = 200

LOOP = """
import json, sys, time
import numpy as np, onnxruntime
from tokenizers import Tokenizer
graph, tokenizer, max_length, threads, profile = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
if profile:
    options.enable_profiling, options.profile_file_prefix = True, profile
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(tokenizer)
tokenizer.no_padding()
tokenizer.enable_truncation(int(max_length))
found = [tokenizer.encode(text) for text in json.loads(sys.stdin.readline())]
feeds = [{"input_ids": np.array([e.ids]), "attention_mask": np.array([e.attention_mask]),
          "token_type_ids": np.array([e.type_ids])} for e in found]
for _ in sys.stdin:
    times = []
    for feed in feeds:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(1000 * (time.perf_counter() - start))
    print(json.dumps(times), flush=True)
if profile:
    session.end_profiling()
"""


class Loop:
    """A process that runs ``LOOP``; each turn goes over all texts once."""

    def __init__(self, model: Path, texts: Sequence[Any], threads: int, profile: str) -> None:
        length = read_manifest(model).max_length
        given = (choose_graph(model).graph, model / "tokenizer.json", length, threads, profile)
        command = [sys.executable, "-c", LOOP, *map(str, given)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._send(json.dumps(list(texts)))

    def turn(self) -> Times:
        """Milliseconds of each text."""
        self._send("go")
        assert self._process.stdout is not None
        return np.asarray(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it in peace: it may have a profile to write."""
        self._process.communicate()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def main() -> None:
    """One line a model on stdout and in ``results/outside_clock.jsonl``."""
    parser = argparse.ArgumentParser(description="bench against other clocks")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    texts = read_test(DataConfig(data=given.data))[0].texts[:TEXTS]
    partial = KEPT.with_suffix(".partial")  # an earlier run's results stay until there are others
    with partial.open("w", encoding="utf-8") as file:
        for model in given.models:
            row = about([given.threads]) | {"model": "/".join(model.resolve().parts[-2:]), "threads": given.threads}
            row |= {"rounds": given.rounds} | measure(model, texts, given.threads, given.rounds)
            file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    partial.replace(KEPT)


def measure(model: Path, texts: Sequence[Any], threads: int, rounds: int) -> dict[str, float]:
    """The medians of all clocks in milliseconds, and bench's over each of the others."""
    times_ms: dict[str, list[Times]] = {"bench": [], "loop": [], "profiled": []}
    with TemporaryDirectory() as temporary:
        with ExitStack() as ends:
            worker = ends.enter_context(ModelWorker("bench", Row(model), threads))
            worker.open()
            loops = [Loop(model, texts, threads, profile) for profile in ("", f"{temporary}/profile")]
            for loop in loops:
                ends.callback(loop.close)
            worker.prepare(REAL, texts)
            turns: list[tuple[str, Callable[[], Times]]] = [
                ("bench", lambda: worker.turn(len(texts), 0.0)),
                ("loop", loops[0].turn),
                ("profiled", loops[1].turn),
            ]
            for number in range(rounds):
                for name, turn in in_turn(turns, number):
                    times_ms[name].append(turn())
        events = json.loads(next(Path(temporary).glob("profile*.json")).read_text(encoding="utf-8"))
    runs_ms = [event["dur"] / 1000 for event in events if event["name"] == "model_run"]
    bench_ms, loop_ms, profiled_ms = (float(np.median(np.concatenate(each[1:]))) for each in times_ms.values())
    profile_ms = float(np.median(runs_ms[len(texts) :]))  # as above, without the first round
    return {
        "bench_p50_ms": bench_ms,
        "loop_p50_ms": loop_ms,
        "profile_p50_ms": profile_ms,
        "bench_to_loop": bench_ms / loop_ms,
        "clock_to_profile": profiled_ms / profile_ms,
        "bench_to_profile": bench_ms / profile_ms,
    }


if __name__ == "__main__":
    main()
