"""Which texts each training step reads, in each process, known in advance: a place in the data is a step's number."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compress.config import TrainingConfig
from compress.training.batches import LengthBatches

Rows = npt.NDArray[np.int64]


class BatchSchedule:
    """The steps of all epochs, for one of the processes that train together.

    A step takes ``gradient_accumulation`` batches in every process. Where an epoch's batches do not go into whole
    steps, its first ones come again.

    Args:
        lengths: tokens of each train text.
        config: epochs, batch size, accumulation and seed.
        processes: how many train together.
        process: which of them this is.
    """

    def __init__(self, lengths: Rows, config: TrainingConfig, processes: int = 1, process: int = 0) -> None:
        self._order = LengthBatches(lengths, config.batch_size, config.seed)
        self._epochs = config.epochs
        self._batches_a_step = config.gradient_accumulation * processes
        self._processes, self._process = processes, process

    @cached_property
    def epoch_steps(self) -> list[int]:
        """Steps of each epoch; they differ a little, as the texts fall into batches by chance."""
        return [-(-len(self._order.epoch(epoch)) // self._batches_a_step) for epoch in range(self._epochs)]

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(self.epoch_steps)

    @cached_property
    def texts_a_batch(self) -> float:
        """Texts in a batch on average."""
        batches = self._order.epoch(0)
        return sum(map(len, batches)) / len(batches)

    def after(self, done: int) -> Iterator[list[Rows]]:
        """The batches of this process in each step that comes after ``done`` steps."""
        for epoch, steps in enumerate(self.epoch_steps):
            if done < steps:
                yield from self._epoch(epoch, done)
            done = max(0, done - steps)

    def _epoch(self, epoch: int, done: int) -> Iterator[list[Rows]]:
        batches = self._order.epoch(epoch)
        for step in range(done, self.epoch_steps[epoch]):
            first = step * self._batches_a_step
            own = range(first + self._process, first + self._batches_a_step, self._processes)
            yield [batches[index % len(batches)] for index in own]
