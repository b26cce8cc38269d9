"""A service as a process on loopback, forked from one that has imported what it needs, and what its clients do."""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.processes import start_module, wait_until

AT_ONCE = 24
Answered = tuple[int, Any, dict[str, str]]


class Service:
    """One that runs; what it says goes to the file ``told``."""

    def __init__(self, process: BaseProcess, port: int, told: Path) -> None:
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
def serving(*models: Path | str, **settings: object) -> Iterator[Service]:
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = ["compress", "serve", *map(str, models), "--port", "0", "--threads", "1", "--json", *flags]
    with TemporaryDirectory() as folder:
        told, printed = Path(folder, "told"), Path(folder, "printed")
        process = start_module(command, told, printed=printed)
        try:
            wait_until(lambda: not process.is_alive() or (printed.exists() and printed.read_text().endswith("\n")))
            assert process.is_alive(), told.read_text(encoding="utf-8")
            yield Service(process, int(json.loads(printed.read_text())["address"].rpartition(":")[2]), told)
        finally:
            process.kill()
            process.join()
