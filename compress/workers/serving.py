"""The child's side of a worker: requests come as JSON lines on stdin, and each gets one line on stdout."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

from compress.errors import CompressError

# PyTorch on a CPU and onnxruntime have no exception class of their own for this.
_OUT_OF_MEMORY = ("can't allocate memory", "failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


class Server(Protocol):
    """What a worker serves: each public method answers the requests of its name."""

    def describe(self) -> dict[str, Any]:
        """The reply to the first request, which opened it."""
        ...


def serve(open_server: Callable[..., Server]) -> None:
    """Answer until stdin ends.

    The first request holds the arguments of ``open_server``; every other one names a method in ``do`` and holds its
    arguments. A :class:`CompressError` and a lack of memory are replies; any other exception ends the process with its
    traceback, whose last line the parent reports.
    """
    replies = _keep_stdout_for_replies()
    _ask_to_be_killed_first()
    server: Server | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if server is None:
                server = open_server(**request)
                reply = server.describe()
            else:
                reply = getattr(server, request.pop("do"))(**request)
        except CompressError as error:
            reply = {"error": str(error), "out_of_memory": False}
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            reply = {"error": f"out of memory ({reason})", "out_of_memory": True}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the machine or of its GPU ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is PyTorch's
        return True
    return any(message in str(error).lower() for message in _OUT_OF_MEMORY)


def _keep_stdout_for_replies() -> TextIO:
    """The stream for replies; whatever libraries print goes to stderr from now on."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _ask_to_be_killed_first() -> None:
    """When memory runs out, Linux ends a process of its choice: let it be this one."""
    with suppress(OSError):  # another system
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
