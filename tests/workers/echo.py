"""A server for the tests: ``python -m tests.workers.echo``."""

import os
import sys
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


if __name__ == "__main__":
    serve(Echo)
