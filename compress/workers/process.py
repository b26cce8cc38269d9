"""Worker processes, which are asked in JSON lines over stdin and always ended, and the loop that runs inside them.

Models that share a process spoil each other's times (their threads spin), so each timed model gets its own worker.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from compress.errors import CompressError
from compress.machine import brief_spin

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE_S = 5.0
# PyTorch on a CPU and onnxruntime have no exception class of their own for this.
_OUT_OF_MEMORY = ("can't allocate memory", "failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")
_ONEDNN_OUT_OF_MEMORY = "could not create a primitive"  # the whole message; longer ones are about shapes


class WorkerError(CompressError):
    """A worker refused a request or died, perhaps for lack of memory; the message is its reason in one line."""


class Worker:
    """A process that runs ``module``, which calls :func:`serve`, with ``threads`` CPU threads for its libraries.

    The process starts at once; the first request opens what it serves. PyTorch's threads spin only briefly there: by
    default, while they wait for each other, they hold CPUs that other processes need. On two CPUs of which others took
    1.6, a model took 996 ms a text by default, 425 ms spinning briefly and 226 ms with one thread; the same model in
    int8 on onnxruntime took 133, 248 and 135 ms.
    """

    def __init__(self, module: str, threads: int) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; close() closes it
        variables = dict.fromkeys(_THREAD_VARIABLES, str(threads)) | {"TOKENIZERS_PARALLELISM": "false"}
        self._process = _start(module, os.environ | brief_spin() | variables, self._stderr)

    @property
    def session(self) -> int:
        """The id of the process, which is also that of the session of all processes that it starts."""
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
        if not line.endswith("\n"):  # empty, or cut off when the process was killed
            raise self._death()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
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
        """Why the process died: its last line on stderr, and the signal or status that it ended with."""
        try:
            status = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return WorkerError(f"its process closed its output, and was ended {_GRACE_S:g} s later")
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        reason = f"{written[-1]} ({ending})" if written else f"its process ended without a message ({ending})"
        if status == -signal.SIGKILL:  # which Linux sends when memory runs out
            reason = f"probably out of memory: {reason}"
        return WorkerError(reason)


def _start(module: str, environment: dict[str, str], stderr: IO[bytes]) -> "subprocess.Popen[str]":
    # It imports what this process would, in the same order: without -P the folder that it runs in came first, where a
    # user's random.py would take the place of Python's; what is no text in sys.path finds no module here either.
    path = os.pathsep.join(entry for entry in sys.path if isinstance(entry, str))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment | {"PYTHONPATH": path},
        encoding="utf-8",
        # Then Ctrl-C reaches the parent alone, which ends its workers itself.
        start_new_session=True,
    )


def serve(open_server: Callable[..., Any]) -> None:
    """The worker's side: answer each line on stdin with one on stdout, until stdin ends.

    The first request holds the arguments of ``open_server``; the reply is what the server's ``describe()`` returns. A
    later request names a method of the server in ``do`` and holds its arguments. A :class:`CompressError` and a lack of
    memory become replies; any other exception ends the process with a traceback, whose last line the parent reports.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print goes to stderr from now on
    with suppress(OSError):  # when memory runs out, Linux kills a process of its choice: let it be this one
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    server: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if server is None:
                server = open_server(**request)
                reply = server.describe()
            else:
                reply = getattr(server, request.pop("do"))(**request)
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            if is_out_of_memory(error):
                reply = {"error": f"out of memory ({reason})"}
            elif isinstance(error, CompressError):
                reply = {"error": str(error)}
            else:
                raise
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the machine or of its GPU ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is PyTorch's
        return True
    said = str(error).lower()
    return said == _ONEDNN_OUT_OF_MEMORY or any(message in said for message in _OUT_OF_MEMORY)
