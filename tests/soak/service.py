"""``compress serve`` for minutes, with clients that ask, leave, stall and flood: does each get the right answer?"""

import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from threading import Event, Lock
from typing import Any

from compress.clock import Stopwatch
from tests.serving.service import Service, serving
from tests.soak.answers import Answers
from tests.soak.memory import Memory

_QUEUE, _MAX_TEXTS = 256, 32
_FLOOD = 24  # requests at once, each with _MAX_TEXTS texts: more than may wait
_HOLD_S = (0.05, 1.0, 40.0)  # that a request stays half sent; the last is longer than the service waits
_SAMPLE_S = 1.0


class Clients:
    """What they do, and what came of it."""

    def __init__(self, service: Service, answers: Answers, over: Event) -> None:
        self.ended: Counter[str] = Counter()
        self.wrong = 0
        self._service, self._answers, self._over, self._lock = service, answers, over, Lock()

    def ask(self, rng: random.Random) -> None:
        """A few texts; the answers must be those of the texts alone."""
        self._ask("asked", self._answers.draw(rng, rng.choice((1, 1, 4))))

    def flood(self, rng: random.Random) -> None:
        """More texts at once than may wait: some requests are refused, the others are answered rightly."""
        with ThreadPoolExecutor(_FLOOD) as at_once:
            groups = [self._answers.draw(rng, _MAX_TEXTS) for _ in range(_FLOOD)]
            list(at_once.map(lambda numbers: self._ask("flooded", numbers), groups))
        self._over.wait(rng.uniform(0, 1))

    def leave(self, rng: random.Random) -> None:
        """Go before the answer: by a close, or by a reset."""
        with self._service.open(self._request(self._answers.draw(rng, 4))) as connection:
            self._over.wait(rng.choice((0, 0.001, 0.01)))
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._note("left")
        self._over.wait(0.01)

    def stall(self, rng: random.Random) -> None:
        """Send half a request and wait; or a whole one, and read nothing for as long."""
        request = self._request(self._answers.draw(rng, 4))
        sent = request[: rng.randrange(1, len(request))] if rng.random() < 0.7 else request
        with self._service.open(sent):
            self._over.wait(rng.choice(_HOLD_S))
        self._note("stalled")

    def _ask(self, what: str, numbers: list[int]) -> None:
        try:
            status, found, _ = self._service.ask("POST", "/classify", self._question(numbers))
        except (OSError, HTTPException) as error:
            self._note(f"{what}: {type(error).__name__}")
            return
        missed = self._answers.wrong(numbers, [one["scores"] for one in found]) if status == 200 else 0
        self._note(f"{what}: {status}", missed)

    def _note(self, what: str, wrong: int = 0) -> None:
        with self._lock:
            self.ended[what] += 1
            self.wrong += wrong

    def _question(self, numbers: list[int]) -> dict[str, list[str]]:
        return {"texts": [self._answers.texts[number] for number in numbers]}

    def _request(self, numbers: list[int]) -> bytes:
        body = json.dumps(self._question(numbers)).encode()
        head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % len(body) + body


def soak_service(model: Path, minutes: float, *, real: bool = True) -> dict[str, Any]:
    """Serve the model for so long, in an interpreter of its own if ``real``; memory is told by minutes.

    ``failed`` counts the requests whose clients waited and that got neither an answer nor a refusal because the queue
    was full (503), and an end that was no clean one.
    """
    answers, over = Answers.of(model), Event()
    with serving(model, real=real, queue=_QUEUE, max_texts=_MAX_TEXTS, drain_seconds=5) as service:
        assert service.process.pid is not None
        clients, memory = Clients(service, answers, over), Memory(service.process.pid)
        acts = [clients.ask] * 3 + [clients.leave] + [clients.stall] * 3 + [clients.flood]
        with ThreadPoolExecutor(len(acts)) as threads:
            tasks = [threads.submit(_again_and_again, act, seed, over) for seed, act in enumerate(acts)]
            try:
                _watch(memory, minutes)
            finally:
                over.set()
        for task in tasks:
            task.result()
        healthy = service.ask("GET", "/healthz")[0] == 200
        service.process.terminate()
        status, told = service.ended()
    allowed = {"asked: 200", "asked: 503", "flooded: 200", "flooded: 503", "left", "stalled"}
    lost = sum(count for what, count in clients.ended.items() if what not in allowed)
    return {
        "minutes": minutes,
        "requests": dict(sorted(clients.ended.items())),
        "wrong": clients.wrong,
        "failed": lost + (not healthy) + (status != 0) + ("Traceback" in told),
        "memory_by_minute": memory.growth(),
    }


def _again_and_again(act: Callable[[random.Random], None], seed: int, over: Event) -> None:
    rng = random.Random(seed)
    act(rng)  # once at least, however short the time
    while not over.is_set():
        act(rng)


def _watch(memory: Memory, minutes: float) -> None:
    watch = Stopwatch()
    while watch.seconds < 60 * minutes:
        memory.sample(watch.seconds / 60)
        time.sleep(min(_SAMPLE_S, minutes * 60 / 20))
