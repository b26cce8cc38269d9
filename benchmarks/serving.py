"""Load on ``compress serve``: python -m benchmarks.serving MODEL TEXTS [--requests N] [--texts-each N] [--threads N].

Starts the service and measures, with the client on the same CPUs:

- bulk: texts a second that ``compress.load`` answers with as many threads, without a service;
- alone: the median time of one request while nothing else is asked;
- capacity: texts a second when 64 clients ask all the time;
- load: ``--requests`` at half of the capacity, as a Poisson process, whether or not earlier ones are answered (open
  loop); a time counts from when the request was due, so that a service that falls behind cannot hide it.

Each answer is compared with that of ``compress.load``: one with a score off by 0.01 or more is wrong, one with a score
off by 0.00001 or more is moved. TEXTS is a file of any format that data may have; its digest is kept. Keeps and
prints one JSON object; exit status 1 if an answer is missing or wrong.
"""

import argparse
import asyncio
import hashlib
import json
import math
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

import compress
from benchmarks import kept
from compress.clock import Stopwatch
from compress.data.files import read_table
from compress.data.tables import read_texts, text_columns
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.machine import usable_cpus
from compress.runtime.encoding import Text

# Another text's answer is further away; one that its batch moved is nearer: int8 rounds, and rarely the other way.
TOLERANCE, SAME = 1e-2, 1e-5
CLIENTS = 64
BULK_S = 10.0
PACKAGES = ("uvicorn", "fastapi")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Scores = list[dict[str, float]]


@dataclass
class Load:
    """Requests to one service, and what came of them."""

    host: str
    port: int
    bodies: list[bytes]
    expected: list[Scores]
    statuses: Counter[int | str] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    wrong: int = 0
    moved: int = 0
    _idle: list[Connection] = field(default_factory=list)

    async def at_rate(self, requests: int, rate: float) -> float:
        """Send them as a Poisson process with ``rate`` a second; the seconds until the last answer."""
        rng = random.Random(0)
        watch, due_s, tasks = Stopwatch(), 0.0, set[asyncio.Task[None]]()
        for _ in range(requests):
            due_s += rng.expovariate(rate)
            if (early_s := due_s - watch.seconds) > 0:
                await asyncio.sleep(early_s)
            tasks.add(task := asyncio.create_task(self._ask(rng.randrange(len(self.bodies)), watch, due_s)))
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return self._close(watch)

    async def all_the_time(self, requests: int, clients: int) -> float:
        """Send them from so many clients, each as soon as it has an answer; the seconds until the last."""
        rng, watch = random.Random(1), Stopwatch()
        numbers = iter([rng.randrange(len(self.bodies)) for _ in range(requests)])

        async def client() -> None:
            for number in numbers:
                await self._ask(number, watch, watch.seconds)

        await asyncio.gather(*(client() for _ in range(clients)))
        return self._close(watch)

    def summary(self) -> dict[str, Any]:
        """Counts and times."""
        right = self.statuses[200] - self.wrong
        asked = self.statuses.total()
        times = np.percentile(self.times_ms, [50, 95, 99, 100]).tolist() if self.times_ms else [None] * 4
        return {
            "requests": asked,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "wrong": self.wrong,
            "moved": self.moved,
            "missing": asked - right - self.wrong,
            **dict(zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), times, strict=True)),
        }

    async def _ask(self, number: int, watch: Stopwatch, due_s: float) -> None:
        try:
            connection = self._open() or await asyncio.open_connection(self.host, self.port)
            status, payload = await _post(connection, self.bodies[number])
        except (OSError, EOFError) as error:
            self.statuses[type(error).__name__] += 1
            return
        self._idle.append(connection)
        self.statuses[status] += 1
        if status == 200:
            self.times_ms.append((watch.seconds - due_s) * 1000)
            distance = _distance([one["scores"] for one in json.loads(payload)], self.expected[number])
            self.wrong += not distance < TOLERANCE
            self.moved += SAME <= distance < TOLERANCE

    def _open(self) -> Connection | None:
        """A connection that is free, if there is one; those that the service closed after a while are none."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def _close(self, watch: Stopwatch) -> float:
        seconds = watch.seconds
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
        return seconds


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


def _distance(found: Scores, expected: Scores) -> float:
    """The largest difference of a score; endless where there are other texts or labels."""
    if [one.keys() for one in found] != [one.keys() for one in expected]:
        return math.inf
    return max(abs(one[name] - other[name]) for one, other in zip(found, expected, strict=True) for name in other)


def bulk_texts_per_s(model: Path, texts: Sequence[Text], threads: int, seconds: float) -> float:
    """What the same model answers a second without a service, all threads at work."""
    with compress.load(model, threads=threads, instances=threads) as classifier:
        classifier(texts[:100])
        watch, answered = Stopwatch(), 0
        while watch.seconds < seconds:
            answered += len(classifier(texts))
        return answered / watch.seconds


def measure(model: Path, texts: Sequence[Text], asked: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    threads = asked.threads or max(1, usable_cpus() - 1)
    with compress.load(asked.reference or model, threads=1) as classifier:
        scores = [answer.scores for answer in classifier(texts)]
    rng = random.Random(2)
    groups = [rng.choices(range(len(texts)), k=asked.texts_each) for _ in range(max(len(texts) // asked.texts_each, 1))]
    bodies = [json.dumps({"texts": [texts[number] for number in group]}).encode() for group in groups]
    expected = [[scores[number] for number in group] for group in groups]
    bulk = bulk_texts_per_s(model, texts, usable_cpus(), asked.bulk_seconds)
    command = [
        sys.executable,
        "-m",
        "compress",
        "serve",
        str(model),
        "--port",
        "0",
        "--threads",
        str(threads),
        "--json",
    ]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as service,
    ):
        assert service.stdout is not None
        try:
            if not (started := service.stdout.readline()):
                service.wait()
                said.seek(0)
                raise CompressError(f"the service did not start: {said.read().strip()}")
            address = urlsplit(json.loads(started)["address"])
            loads = [Load(address.hostname or "", address.port or 80, bodies, expected) for _ in range(4)]
            warm, alone, full, half = loads
            few = max(asked.requests // 50, 20)
            asyncio.run(warm.all_the_time(few, CLIENTS))
            asyncio.run(alone.all_the_time(few, 1))
            capacity = 10 * few / asyncio.run(full.all_the_time(10 * few, CLIENTS))
            seconds = asyncio.run(half.at_rate(asked.requests, capacity / 2))
        finally:
            service.terminate()
    some_answered = bool(half.times_ms and alone.times_ms)
    found = {"alone": alone.summary(), "full": full.summary(), "half": half.summary()}
    return {
        "texts_a_request": asked.texts_each,
        "threads": threads,
        "cpus": usable_cpus(),
        "different_answers": len({tuple(round(score, 5) for score in one.values()) for one in scores}),
        "bulk_texts_per_s": bulk,
        "capacity_texts_per_s": capacity * asked.texts_each,
        "capacity_to_bulk": capacity * asked.texts_each / bulk,
        "half_answered_per_s": asked.requests / seconds,
        "p99_at_half_to_p50_alone": half.summary()["p99_ms"] / alone.summary()["p50_ms"] if some_answered else None,
        **found,
        "wrong": sum(load.wrong for load in loads),
        "moved": sum(load.moved for load in loads),
        "missing": sum(load.summary()["missing"] for load in loads),
    }


def table(document: Mapping[str, Any]) -> str:
    """Each figure beside its goal."""
    alone, half = document["alone"], document["half"]
    lines = [
        ["", "measured", "goal"],
        ["requests at half of the capacity, beside those alone and at full speed", f"{half['requests']:,}", ""],
        ["lost, of all", f"{document['missing']:,}", "0"],
        ["with a score off by 0.01 or more, as another text's answer would be", f"{document['wrong']:,}", "0"],
        ["with a score off by 0.00001 or more, as rounding does", f"{document['moved']:,}", "0"],
        ["p50 of a request alone, ms", _told(alone["p50_ms"]), ""],
        ["p50 and p99 at half of the capacity, ms", f"{_told(half['p50_ms'])} and {_told(half['p99_ms'])}", ""],
        ["that p99, as a multiple of the p50 alone", _told(document["p99_at_half_to_p50_alone"]), "at most 5"],
        ["capacity, texts/s", f"{document['capacity_texts_per_s']:,.0f}", ""],
        ["`compress.load` on the same CPUs, texts/s", f"{document['bulk_texts_per_s']:,.0f}", ""],
        ["capacity to that", f"{document['capacity_to_bulk']:.2f}", "at least 0.8"],
    ]
    return kept.markdown(lines) + kept.below(document)


def _told(figure: float | None) -> str:
    return "none answered" if figure is None else f"{figure:.1f}"


def keep(figures: dict[str, Any], asked: argparse.Namespace) -> None:
    """Write them, with the machine."""
    about = kept.about([figures["threads"]], model=asked.model, beside=asked.beside, packages=PACKAGES)
    document = about | {"texts": hashlib.sha256(asked.texts.read_bytes()).hexdigest()} | figures
    kept.write(asked.out, document)


def main() -> int:
    """The figures, kept and on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--texts-each", type=int, default=1, help="texts of a request")
    parser.add_argument("--threads", type=int, help="of the service (default: its own)")
    parser.add_argument("--bulk-seconds", type=float, default=BULK_S)
    parser.add_argument("--reference", type=Path, help="the model that answers are compared with (default: MODEL)")
    kept.add_arguments(parser, "serving.json")
    asked = parser.parse_args()
    if not asked.texts.is_file():
        parser.error(f"{asked.texts}: no such file; TEXTS is a file of texts")
    read_manifest(asked.model)  # says so where it is none
    table = read_table(asked.texts)
    texts = list(dict.fromkeys(read_texts(table, text_columns(table, ()))))
    figures = measure(asked.model, texts, asked)
    keep(figures, asked)
    print(json.dumps(figures, indent=2))
    return int(figures["wrong"] + figures["missing"] > 0)


if __name__ == "__main__":
    kept.program(main)
