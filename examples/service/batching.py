"""Requests to micro-batches: a bounded queue, and one task that hands the model what waits there together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from compress import Prediction

Text = str | tuple[str, str]
Job = tuple[Text, asyncio.Future[Prediction]]


class BusyError(Exception):
    """The queue is full, or closed: ask again later, or elsewhere."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch and the queue may hold.

    Attributes:
        waiting: texts in the queue; one more is refused.
        batch_characters: of a batch's texts together, some 4 for each token (a longer text goes alone).
        wait_ms: that a batch waits for more texts. 0 takes what came while the model was busy, and adds no latency.
    """

    waiting: int = 256
    batch_characters: int = 8192
    wait_ms: float = 0.0


class Batcher:
    """Answers texts, many at a time, in one thread of its own. All methods belong to the event loop's thread."""

    def __init__(
        self, answer: Callable[[Sequence[Text]], list[Prediction]], limits: Limits, note_batch: Callable[[int], object]
    ) -> None:
        self._answer = answer
        self._limits = limits
        self._note_batch = note_batch
        self._waiting: deque[Job] = deque()
        self._changed = asyncio.Condition()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Itself, at work."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Accept no more, answer all that waits."""
        self._closed = True
        await self._notify()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    @property
    def waiting(self) -> int:
        """Texts in the queue."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether what waits will be answered."""
        return self._task is not None and not self._task.done()

    @property
    def accepts(self) -> bool:
        """Whether there is room for one more text."""
        return self.alive and not self._closed and self.waiting < self._limits.waiting

    async def __call__(self, text: Text) -> Prediction:
        """The answer to one text.

        Raises:
            BusyError: at once, when no more may wait.
        """
        if not self.accepts:
            raise BusyError
        answered: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, answered))
        await self._notify()
        return await answered

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _run(self) -> None:
        while await self._some():
            batch = self._take()
            self._note_batch(len(batch))
            await self._answer_all(batch)

    async def _some(self) -> bool:
        """Wait for texts, and for more of them as long as is allowed; False when there will be none."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._limits.wait_ms:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.wait_ms / 1000):
                        await self._changed.wait_for(lambda: self._fills_a_batch() or self._closed)
        return bool(self._waiting)

    def _fills_a_batch(self) -> bool:
        return sum(_characters(text) for text, _ in self._waiting) >= self._limits.batch_characters

    def _take(self) -> list[Job]:
        """The oldest texts, as many as a batch may hold, one at least."""
        batch = [self._waiting.popleft()]
        room = self._limits.batch_characters - _characters(batch[0][0])
        while self._waiting and (room := room - _characters(self._waiting[0][0])) >= 0:
            batch.append(self._waiting.popleft())
        return batch

    async def _answer_all(self, batch: list[Job]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answer, [text for text, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, its askers learn of it, and the next are served
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(error)
            return
        for (_, answered), answer in zip(batch, answers, strict=True):
            if not answered.done():  # its asker may have gone
                answered.set_result(answer)


def _characters(text: Text) -> int:
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
