"""A service that runs as a user's: a process on loopback, and what its clients do."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

AT_ONCE = 24
Answered = tuple[int, Any, dict[str, str]]


class Service:
    """One that runs."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

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
    command = [sys.executable, "-m", "compress", "serve", *map(str, models), "--port", "0", "--threads", "1", "--json"]
    with subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            said = process.stdout.readline()
            assert said, process.stderr.read()
            yield Service(process, int(json.loads(said)["address"].rpartition(":")[2]))
        finally:
            process.kill()
