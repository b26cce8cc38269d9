"""Micro-batching: a bounded queue of texts, and one task that gives the model the waiting texts together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from compress.runtime.classifier import Prediction
from compress.runtime.encoding import Text

# All texts of a batch together have at most this many characters; a longer text goes alone. A token is some 4
# characters, so a request waits a few milliseconds for the batch before it. A model that reads long texts in windows
# reads all of a longer text, and later ones wait longer: --max-characters limits that.
_BATCH_CHARACTERS = 8192


class BusyError(Exception):
    """The queue has no room, or is closed: ask again later, or elsewhere."""


@dataclass(eq=False, slots=True)
class _Job:
    """The texts of one request; ``taken`` of them are in a batch or answered."""

    texts: Sequence[Text]
    answered: asyncio.Future[list[Prediction]]
    taken: int = 0
    answers: list[Prediction] = field(default_factory=list)


class Batcher:
    """Answers texts, many at a time, in one thread of its own. All methods must be called in the event loop's thread.

    Texts that come while the model is busy make up the next batch, so no text waits for others to come.

    Args:
        answer: runs the model.
        queue: the most texts that may wait.
        note_batch: called with the number of texts of each batch.
    """

    def __init__(
        self, answer: Callable[[Sequence[Text]], list[Prediction]], queue: int, note_batch: Callable[[int], object]
    ) -> None:
        self.waiting = 0  # texts in the queue
        self._answer = answer
        self._queue = queue
        self._note_batch = note_batch
        self._jobs: deque[_Job] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start answering."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Accept no more texts, and answer those that wait."""
        self._closed = True
        self._changed.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    @property
    def alive(self) -> bool:
        """Whether waiting texts will be answered."""
        return self._task is not None and not self._task.done()

    def accepts(self, texts: int = 1) -> bool:
        """Whether the queue has room for this number of texts."""
        return self.alive and not self._closed and self.waiting + texts <= self._queue

    async def __call__(self, texts: Sequence[Text]) -> list[Prediction]:
        """The answers to the texts of one request, which are dropped from the queue if its task is cancelled.

        Raises:
            BusyError: the queue has no room for them.
        """
        if not self.accepts(len(texts)):
            raise BusyError
        job = _Job(texts, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.waiting += len(texts)
        self._changed.set()
        try:
            return await job.answered
        finally:
            self._drop(job)

    def _drop(self, job: _Job) -> None:
        """Remove a job's waiting texts from the queue: nobody wants their answers."""
        if job.taken < len(job.texts):
            self.waiting -= len(job.texts) - job.taken
            self._jobs.remove(job)
            job.taken = len(job.texts)

    async def _run(self) -> None:
        while self._jobs or not self._closed:
            if not self._jobs:
                self._changed.clear()
                await self._changed.wait()
                continue
            batch = self._take()
            self._note_batch(len(batch))
            await self._answer_all(batch)

    def _take(self) -> list[tuple[_Job, Text]]:
        """The oldest texts, as many as a batch may hold, at least one."""
        batch: list[tuple[_Job, Text]] = []
        room = _BATCH_CHARACTERS
        while self._jobs:
            job = self._jobs[0]
            text = job.texts[job.taken]
            room -= len(text) if isinstance(text, str) else sum(map(len, text))
            if batch and room < 0:
                break
            batch.append((job, text))
            job.taken += 1
            self.waiting -= 1
            if job.taken == len(job.texts):
                self._jobs.popleft()
        return batch

    async def _answer_all(self, batch: list[tuple[_Job, Text]]) -> None:
        """Give each job its answers; if the model fails, try each text alone, so that only its own job fails."""
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answer, [text for _, text in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, the requests fail with it, and the next are answered
            if len(batch) == 1:
                self._fail(batch[0][0], error)
                return
            for job_and_text in batch:
                await self._answer_all([job_and_text])
            return
        for (job, _), answer in zip(batch, answers, strict=True):
            job.answers.append(answer)
            if len(job.answers) == len(job.texts) and not job.answered.done():  # its client may have left
                job.answered.set_result(job.answers)

    def _fail(self, job: _Job, error: Exception) -> None:
        self._drop(job)
        if not job.answered.done():
            job.answered.set_exception(error)
