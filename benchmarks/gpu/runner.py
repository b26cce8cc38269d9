"""Runs the parts one after the other, each in a process of its own, and keeps what is known at any moment."""

import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.parts import Part
from benchmarks.gpu.serving import reason_of
from benchmarks.gpu.setting import Setting
from compress.clock import Stopwatch

_PRELOADED = [
    "torch",
    "transformers",
    "benchmarks.gpu.parts",
    "compress.distillation.distill",
    "compress.pruning.prune",
]
_LEAST_S = 3.0
_GRACE_S = 15.0

Report = Callable[[str, dict[str, Any]], None]


def run_parts(parts: Sequence[Part], setting: Setting, total_s: float, report: Report) -> None:
    """Measure ``parts``; ``report`` is told of each one's outcome as soon as it is over.

    What is left of the time is divided among the parts that are left, by their shares. A part may take twice its own
    before it is ended; the rows that it had are kept.

    Args:
        parts: what to measure.
        setting: how large, and where.
        total_s: seconds for all of it.
        report: takes a part's name, and its ``status`` with ``rows``, ``seconds`` and, where it failed, ``reason``.
    """
    watch = Stopwatch()
    # Imports take seconds: they are done once, in a process that starts all others and never touches the GPU.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    for number, part in enumerate(parts):
        left_s = total_s - watch.seconds
        if left_s < _LEAST_S:
            report(part.name, {"status": "left out", "reason": "no time was left", "rows": []})
            continue
        share_s = left_s * part.share / sum(each.share for each in parts[number:])
        report(part.name, run_apart(context, part, setting, share_s, min(left_s, 2 * share_s + _GRACE_S)))


def run_apart(context: Any, part: Part, setting: Setting, share_s: float, limit_s: float) -> dict[str, Any]:
    """One part in a fresh process that is ended after ``limit_s``: its outcome, as :func:`run_parts` reports it."""
    watch = Stopwatch()
    rows, log = setting.folder / "rows.jsonl", setting.folder / "log.txt"
    for file in (rows, log):
        file.write_bytes(b"")
    process = context.Process(target=_work, args=(part, setting, share_s, rows, log))
    process.start()
    process.join(limit_s)
    over = process.exitcode is None
    process.kill()
    with suppress(ProcessLookupError):  # what the part started, bench's workers for one, ends with it
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    found = read_rows(rows)
    failure = next((row.pop("failure") for row in found if "failure" in row), None)
    outcome: dict[str, Any] = {
        "status": "done",
        "seconds": round(watch.seconds, 1),
        "rows": [row for row in found if row],
    }
    if over:
        return outcome | {"status": "cut off", "reason": f"it took more than its {limit_s:.0f} s"}
    if failure or process.exitcode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        reason = failure or f"its process ended with status {process.exitcode}; {''.join(last)[:300]}"
        return outcome | {"status": "failed", "reason": reason}
    return outcome


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines; the last may have been cut off."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def _work(part: Part, setting: Setting, share_s: float, rows: Path, log: Path) -> None:
    """The part's process: a group of its own, what it prints in ``log``, its rows and its failure in ``rows``."""
    os.setsid()
    written = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    if not setting.on_gpu:
        torch.set_num_threads(1)  # models this small are done before a second thread has woken
    os.environ |= {"COMPRESS_CACHE": str(setting.folder / "cache"), "TOKENIZERS_PARALLELISM": "false"}
    with rows.open("a", encoding="utf-8", buffering=1) as lines:

        def emit(row: dict[str, Any]) -> None:
            lines.write(json.dumps(row) + "\n")

        try:
            part(setting, emit, share_s)
        except Exception as error:  # noqa: BLE001 - it is told as the part's failure
            traceback.print_exc(file=sys.stderr)
            emit({"failure": reason_of(error)})
