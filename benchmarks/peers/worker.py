"""One peer in a process of its own, in its own environment: the same protocol for all.

python -m benchmarks.peers.worker make MODULE TEACHER DATA OUT
python -m benchmarks.peers.worker answer MODULE FOLDER TEXTS.json THREADS

``answer`` writes a line of JSON once the first text is answered, which stops the parent's clock of the cold start, and
one at the end: a label and the milliseconds from text to label for each text, one at a time, and the peak of memory.
The environments have no compress, and an old transformers must not meet its classes: nothing here imports it.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

WARM_UP_TEXTS = 50


def answer(load: Any, folder: Path, texts: list[str], threads: int, out: TextIO) -> None:
    """The first answer, a warm-up, then all texts."""
    classify = load(folder, threads)
    _say(out, {"first": classify(texts[0])})
    for text in texts[:WARM_UP_TEXTS]:
        classify(text)
    labels, milliseconds = [], []
    for text in texts:
        start = time.perf_counter_ns()
        labels.append(classify(text))
        milliseconds.append((time.perf_counter_ns() - start) / 1e6)
    _say(out, {"labels": labels, "ms": milliseconds, "peak_bytes": peak_bytes()})


def peak_bytes() -> int:
    """This process's own peak; ``ru_maxrss`` would begin with that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def _say(out: TextIO, message: object) -> None:
    print(json.dumps(message), file=out, flush=True)


def main() -> None:
    """What libraries print goes to stderr: stdout is for the parent."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task, module, *given = sys.argv[1:]
    peer = import_module(f"benchmarks.peers.contenders.{module}")
    if task == "make":
        peer.make(*map(Path, given))
        return
    texts = json.loads(Path(given[1]).read_text(encoding="utf-8"))
    answer(peer.load, Path(given[0]), texts, int(given[2]), out)
    out.close()
    os._exit(0)  # some libraries wait for their threads when they end, or crash there


if __name__ == "__main__":
    main()
