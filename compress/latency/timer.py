"""One graph in a process of its own: ``python -m compress.latency.timer``, asked in JSON lines over stdin.

Sessions that share a process spoil each other's times. The first line opens the graph and its inputs; every other one
asks for a turn of timing. Imports no more than what serves a model, so that it starts quickly.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from compress.clock import Stopwatch
from compress.errors import CompressError
from compress.runtime.encoding import Feeds

_UNTIMED_CALLS = 3
_WARM_UP_CALLS = 24


class Timer:
    """The parent's side: a process that holds ``graph``, started at once and ended by ``with``.

    Args:
        graph: the model, serialized.
        feeds: its inputs; every timer takes them in this order, over and over.
        threads: CPU threads.
    """

    def __init__(self, graph: bytes, feeds: Sequence[Feeds], threads: int) -> None:
        self._folder = TemporaryDirectory()
        place = Path(self._folder.name)
        (place / "model.onnx").write_bytes(graph)
        arrays = {f"{row}.{name}": array for row, each in enumerate(feeds) for name, array in each.items()}
        np.savez(place / "feeds.npz", **arrays)  # type: ignore[arg-type]  # its stub takes them for an option
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compress.latency.timer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C goes to the parent alone, which ends its timers itself
        )
        self._send({"folder": str(place), "threads": threads})

    def turn(self, calls: int) -> float:
        """The median time in milliseconds of the next ``calls`` calls."""
        self._send({"calls": calls})
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise CompressError(
                f"prune: the process that times a model ended with status {self._process.wait()}; "
                "it may lack memory, see the lines above"
            )
        return float(json.loads(line)["p50_ms"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the next answer is missing, which is told


def main() -> None:
    """Answer until stdin ends."""
    from compress.runtime.session import open_session

    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print goes to stderr
    opening = json.loads(sys.stdin.readline())
    session = open_session(Path(opening["folder"], "model.onnx"), opening["threads"])
    feeds = _read_feeds(Path(opening["folder"], "feeds.npz"))
    for each in feeds[:_WARM_UP_CALLS]:
        session.run(["logits"], each)
    # What lives now lives on; without this the collector would walk through it in the middle of a timed call.
    gc.collect()
    gc.freeze()
    gc.disable()
    at = 0
    for line in sys.stdin:
        calls, times_ms = json.loads(line)["calls"], []
        block = [feeds[(at + step) % len(feeds)] for step in range(calls)]
        at += calls
        for each in block[:_UNTIMED_CALLS]:  # another process had the caches until now
            session.run(["logits"], each)
        for each in block:
            watch = Stopwatch()
            session.run(["logits"], each)
            times_ms.append(watch.milliseconds)
        replies.write(json.dumps({"p50_ms": float(np.median(times_ms))}) + "\n")
        replies.flush()


def _read_feeds(path: Path) -> list[Feeds]:
    rows: dict[int, Feeds] = {}
    with np.load(path) as arrays:
        for key in arrays:
            row, _, name = key.partition(".")
            rows.setdefault(int(row), {})[name] = arrays[key]
    return [rows[row] for row in sorted(rows)]


if __name__ == "__main__":
    main()
