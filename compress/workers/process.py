"""The parent's side of a worker: a process that is started, asked in JSON lines over stdin, and always ended.

Models that share a process spoil each other's times (their threads spin), so each one that is timed gets a worker.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, Self

from compress.errors import CompressError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE_S = 5.0


class WorkerError(CompressError):
    """A worker refused a request or died; the message is its reason in one line.

    Attributes:
        out_of_memory: whether memory ran out; a worker that died of it was ended by Linux, which sends SIGKILL.
    """

    def __init__(self, reason: str, *, out_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.out_of_memory = out_of_memory


class Worker:
    """A process that runs ``module``, which calls :func:`compress.workers.serving.serve`.

    The process starts at once; what it serves is opened by the first request.

    Args:
        module: the child's main module.
        threads: CPU threads of the libraries in it.
    """

    def __init__(self, module: str, threads: int) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; close() closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
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
        """The id of the process, and of the process session that it and all that it starts belong to."""
        return self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """The reply to one request.

        Raises:
            WorkerError: the worker refuses it, lacks the memory for it, or has died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        line = self._process.stdout.readline()
        if not line:
            raise self._death()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"], out_of_memory=reply["out_of_memory"])
        return reply

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _death(self) -> WorkerError:
        """Why the process died: the last line that it wrote to stderr, and the signal or status that it ended with."""
        status = self._process.wait(_GRACE_S)
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        reason = f"{written[-1]} ({ending})" if written else f"its process ended without a message ({ending})"
        if status == -signal.SIGKILL:
            return WorkerError(f"probably out of memory: {reason}", out_of_memory=True)
        return WorkerError(reason)
