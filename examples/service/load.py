"""Loads a running service and checks every answer: python load.py URL MODEL TEXTS [--requests N] [--rate R].

Requests come as a Poisson process at ``--rate`` a second, whether or not earlier ones are answered (open loop), and an
answer's time counts from when its request was due, so that a service that falls behind cannot hide it. Each answer is
compared with what ``compress.load(MODEL)`` says of the same text. TEXTS is a file with a text a line. Prints one JSON
object; exit status 1 if an answer is missing or wrong.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

import compress
from compress.clock import Stopwatch

TOLERANCE = 1e-5
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Load:
    """Requests to one service, and what came of them."""

    host: str
    port: int
    bodies: list[bytes]
    expected: list[dict[str, float]]
    statuses: Counter[int | str] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    wrong: int = 0
    _idle: list[Connection] = field(default_factory=list)

    async def run(self, requests: int, rate: float, seed: int = 0) -> float:
        """Send all; the seconds until the last answer."""
        rng = random.Random(seed)
        watch, due_s, tasks = Stopwatch(), 0.0, set[asyncio.Task[None]]()
        for _ in range(requests):
            due_s += rng.expovariate(rate)
            if (early_s := due_s - watch.seconds) > 0:
                await asyncio.sleep(early_s)
            tasks.add(task := asyncio.create_task(self._ask(rng.randrange(len(self.bodies)), watch, due_s)))
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        seconds = watch.seconds
        for _, writer in self._idle:
            writer.close()
        return seconds

    async def _ask(self, number: int, watch: Stopwatch, due_s: float) -> None:
        try:
            connection = self._open() or await asyncio.open_connection(self.host, self.port)
            status, payload = await _post(connection, self.bodies[number])
        except (OSError, EOFError) as error:
            self.statuses[type(error).__name__] += 1
            return
        self.times_ms.append((watch.seconds - due_s) * 1000)
        self._idle.append(connection)
        self.statuses[status] += 1
        if status == 200 and not _same(json.loads(payload)["scores"], self.expected[number]):
            self.wrong += 1

    def _open(self) -> Connection | None:
        """A connection that is free, if there is one; those that the service closed after a while are none."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None


async def _post(connection: Connection, body: bytes) -> tuple[int, bytes]:
    """Status and content of the answer; as little HTTP as a client of many requests needs."""
    reader, writer = connection
    writer.write(
        b"POST /classify HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    first, *headers = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in headers if line.startswith(b"content-length:"))
    return int(first.split()[1]), await reader.readexactly(length)


def _same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return found.keys() == expected.keys() and all(abs(found[name] - expected[name]) < TOLERANCE for name in expected)


def main() -> int:
    """The load, then its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    asked = parser.parse_args()
    texts = list(dict.fromkeys(filter(None, asked.texts.read_text(encoding="utf-8").split("\n"))))
    with compress.load(asked.model, threads=1) as classifier:
        expected = [answer.scores for answer in classifier(texts)]
    address = urlsplit(asked.url)
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    load = Load(address.hostname or "localhost", address.port or 80, bodies, expected)
    seconds = asyncio.run(load.run(asked.requests, asked.rate))
    right = load.statuses[200] - load.wrong
    p50, p95, p99 = np.percentile(load.times_ms, [50, 95, 99]).tolist()
    figures = {
        "requests": asked.requests,
        "texts": len(texts),
        "answers_that_differ": len({tuple(round(score, 5) for score in scores.values()) for scores in expected}),
        "asked_per_s": asked.rate,
        "answered_per_s": len(load.times_ms) / seconds,
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "wrong": load.wrong,
        "missing": asked.requests - right - load.wrong,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": max(load.times_ms),
    }
    print(json.dumps(figures, indent=2))
    return int(right != asked.requests)


if __name__ == "__main__":
    sys.exit(main())
