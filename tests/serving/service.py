"""A service as a process on loopback, and what its clients do."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.processes import start_module, wait_until

AT_ONCE = 24
Answered = tuple[int, Any, dict[str, str]]


class Interpreter(subprocess.Popen[bytes]):
    """A Python that is asked what a process of multiprocessing is asked."""

    def is_alive(self) -> bool:
        return self.poll() is None

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        return self.poll()


class Service:
    """One that runs; what it says goes to the file ``told``."""

    def __init__(self, process: BaseProcess | Interpreter, port: int, told: Path) -> None:
        self.process = process
        self.port = port
        self._told = told

    def ended(self) -> tuple[int | None, str]:
        """Wait for its end; its exit status, and what it said."""
        self.process.join(30)
        return self.process.exitcode, self._told.read_text(encoding="utf-8")

    def ask(self, method: str, path: str, body: object = None, chunks: bool = False) -> Answered:
        """Status, content and headers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes) or chunks else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"}, encode_chunked=chunks)  # type: ignore[arg-type]
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text, dict(answer.headers)

    def classify(self, text: object) -> Answered:
        return self.ask("POST", "/classify", {"text": text})

    def classify_all(self, texts: Sequence[object]) -> list[Answered]:
        """Of many clients at once."""
        with ThreadPoolExecutor(AT_ONCE) as clients:
            return list(clients.map(self.classify, texts))

    def metric(self, pattern: str) -> float:
        """The sum of the series whose names and labels match."""
        page = self.ask("GET", "/metrics")[1]
        return sum(map(float, re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE)))

    def open(self, sent: bytes) -> socket.socket:
        """A connection on which this much was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(sent)
        return connection

    @property
    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status)[0])


@contextmanager
def serving(*models: Path | str, real: bool = False, **settings: object) -> Iterator[Service]:
    """Until the block ends. It is forked from a process that has imported PyTorch, which saves seconds.

    With ``real`` it is a Python of its own, as users start it: it holds what a service needs, and ends as Python does.
    """
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = ["compress", "serve", *map(str, models), "--port", "0", "--threads", "1", "--json", *flags]
    with TemporaryDirectory() as folder:
        told, printed = Path(folder, "told"), Path(folder, "printed")
        process = _started(command, told, printed) if real else start_module(command, told, printed=printed)
        try:
            wait_until(lambda: not process.is_alive() or (printed.exists() and printed.read_text().endswith("\n")))
            assert process.is_alive(), told.read_text(encoding="utf-8")
            yield Service(process, int(json.loads(printed.read_text())["address"].rpartition(":")[2]), told)
        finally:
            process.kill()
            process.join()


def _started(command: Sequence[str], told: Path, printed: Path) -> Interpreter:
    with told.open("wb") as stderr, printed.open("wb") as stdout:
        return Interpreter([sys.executable, "-m", *command], stdout=stdout, stderr=stderr)
