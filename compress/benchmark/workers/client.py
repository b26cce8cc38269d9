"""The parent's side of a worker process: started, asked, and always ended."""

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from compress.benchmark.arrivals import Seconds
from compress.benchmark.cost import WorkerCosts
from compress.benchmark.macs import ProductSizes
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, Times, Workload
from compress.runtime.encoding import Text
from compress.runtime.predictor import Logits

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE_S = 5.0


class WorkerFailedError(Exception):
    """A worker that refused its model or died; the message is its reason in one line."""


class DoesNotFitError(WorkerFailedError):
    """A batch that memory does not suffice for; the worker may have died of it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a worker says about the model that it has opened."""

    labels: tuple[str, ...]
    task: str
    max_length: int
    backend: str
    provider: str | None
    precision: str
    size_bytes: int
    parameters: int


class Worker:
    """A process that holds one model: it starts at once, and opens the model when :meth:`opened` asks it to."""

    def __init__(self, name: str, side: Row, threads: int) -> None:
        self.name = name
        self._side, self._threads = side, threads
        self._load: Workload = REAL
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; close() closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compress.benchmark.workers.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)) | {"TOKENIZERS_PARALLELISM": "false"},
            encoding="utf-8",
            # Ctrl-C goes to the parent alone, which ends its workers itself.
            start_new_session=True,
        )

    @property
    def session(self) -> int:
        """The process session that the worker and all that it starts belong to."""
        return self._process.pid

    def again(self) -> "Worker":
        """A fresh process for the same model; this one ends."""
        self.close()
        return Worker(self.name, self._side, self._threads)

    def opened(self) -> Opened:
        """Open the model; the caller asks one worker after the other, since loads side by side slow each other."""
        reply = self._ask(**asdict(self._side) | {"path": str(self._side.path), "threads": self._threads})
        return Opened(**reply | {"labels": tuple(reply["labels"])})

    def first_answer(self, text: Text) -> None:
        self._ask(do="first_answer", text=text)

    def logits(self, texts: Sequence[Text]) -> Logits:
        reply = self._ask(do="logits", texts=list(texts))
        flat = np.frombuffer(base64.b64decode(reply["float32"]), dtype="<f4")
        return flat.reshape(reply["shape"]).astype(np.float32)

    def load(self, load: Workload, texts: Sequence[Text]) -> float:
        """Take up a load and warm up; the median time in milliseconds that this ended with.

        Raises:
            DoesNotFitError: a batch of a fixed shape needs more memory than there is, here or in a turn after it.
        """
        self._load = load
        return float(self._ask(do="load", texts=list(texts), batch=load.batch, length=load.length)["p50_ms"])

    def turn(self, calls: int, at_least_s: float) -> Times:
        """Times in milliseconds of the next ``calls`` calls, all of them repeated until ``at_least_s`` has passed."""
        return np.asarray(self._ask(do="turn", calls=calls, at_least_s=at_least_s)["times_ms"])

    def offline(self) -> float:
        """Seconds of the model over the texts that :meth:`logits` was last asked for, in batches of like length."""
        return float(self._ask(do="offline")["seconds"])

    def serve(self, arrivals_s: Seconds) -> tuple[Times, float]:
        """Answer the load's texts as they arrive; milliseconds from arrival to answer, and seconds in all."""
        reply = self._ask(do="serve", arrivals_s=arrivals_s.tolist())
        return np.asarray(reply["times_ms"]), float(reply["seconds"])

    def account(self) -> WorkerCosts:
        reply = self._ask(do="account")
        widths = reply["widths"]
        if widths is not None:
            widths = ProductSizes(**widths | {name: tuple(widths[name]) for name in ("attention", "neurons")})
        return WorkerCosts(**reply | {"widths": widths})

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._send(request)
        return self._receive()

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerFailedError(reply["error"])
        if "does_not_fit" in reply:
            raise (DoesNotFitError if self._load != REAL else WorkerFailedError)(reply["does_not_fit"])
        return reply

    def _ended(self) -> WorkerFailedError:
        """What the end of the process means: SIGKILL in the middle of a large batch is how Linux mends its memory."""
        words = self._last_words()
        killed = self._process.returncode == -signal.SIGKILL and self._load != REAL
        return DoesNotFitError(f"probably out of memory: {words}") if killed else WorkerFailedError(words)

    def _last_words(self) -> str:
        """Why the process died: the last line it wrote to stderr, or the signal that ended it."""
        status = self._process.wait(_GRACE_S)
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{written[-1]} ({ending})" if written else f"its process ended without a word ({ending})"
