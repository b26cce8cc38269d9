"""A server for the tests: ``python -m tests.workers.echo``."""

import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from compress.errors import CompressError
from compress.workers.process import serve


class Echo:
    def __init__(self, greeting: str) -> None:
        sys.stdout.write("libraries print to stdout\n")
        if greeting == "refuse":
            raise CompressError("refused: no such greeting")
        self._greeting = greeting

    def describe(self) -> dict[str, Any]:
        return {"greeting": self._greeting, "threads": os.environ["OMP_NUM_THREADS"]}

    def say(self, text: str) -> dict[str, Any]:
        os.system("echo so do programs")
        return {"said": f"{self._greeting} {text}"}

    def refuse(self) -> dict[str, Any]:
        raise CompressError("refused: not now")

    def fill_memory(self) -> dict[str, Any]:
        raise MemoryError

    def crash(self) -> dict[str, Any]:
        sys.stderr.write("some warning\n")
        raise IndexError("a fault of the server's own")

    def leave(self) -> dict[str, Any]:
        os._exit(3)

    def die_while_replying(self) -> dict[str, Any]:
        os.write(_replies(), b'{"said": "hel')
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def fall_silent(self) -> dict[str, Any]:
        os.close(_replies())
        time.sleep(600)
        raise AssertionError


def _replies() -> int:
    """The only pipe to the parent that is open for writing: stdout leads to stderr, and that is a file."""
    opened = {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.is_fifo()}
    (found,) = (number for number in opened if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_WRONLY)
    return found


if __name__ == "__main__":
    serve(Echo)
