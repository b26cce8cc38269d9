"""Encoded texts with their targets, and the batches of each training step, whose order is known in advance."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from compress.config import TrainingConfig
from compress.modeling.states import Batch, States
from compress.runtime.encoding import Encoding, pad
from compress.runtime.predictor import by_length
from compress.training.optimization import TEACHER_PREFIX

Rows = npt.NDArray[np.int64]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encodings:
    """Token ids of ``n`` texts, one after the other: text ``i`` is ``ids[offsets[i]:offsets[i + 1]]``."""

    ids: npt.NDArray[np.int32]  # [tokens]
    type_ids: npt.NDArray[np.uint8]  # [tokens], the segment of each token
    offsets: npt.NDArray[np.int64]  # [n + 1]
    pad_id: int = 0  # the token that fills up the shorter texts of a batch
    width: int | None = None  # tokens of a window, where texts are read in windows: see :class:`Encoding`

    @classmethod
    def pack(cls, encodings: Iterable[Encoding]) -> "Encodings":
        """Put ``encodings`` into arrays in memory."""
        texts = list(encodings)
        lengths = [len(text) for text in texts]
        return cls(
            np.fromiter((token for text in texts for token in text.ids), np.int32, sum(lengths)),
            np.fromiter((segment for text in texts for segment in text.type_ids), np.uint8, sum(lengths)),
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            *((texts[0].pad_id, texts[0].width) if texts else ()),
        )

    @classmethod
    def pack_rows(cls, encodings: Iterable[Encoding]) -> "Encodings":
        """Put ``encodings`` into arrays, each window of a text that is read in windows as a text of its own."""
        return cls.pack(row for encoding in encodings for row in encoding.rows)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Encoding:
        start, end = self.offsets[row], self.offsets[row + 1]
        return Encoding(self.ids[start:end].tolist(), self.type_ids[start:end].tolist(), self.pad_id, self.width)

    def __iter__(self) -> Iterator[Encoding]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text, special ones included, ``[n]``."""
        return np.diff(self.offsets)


class TeacherOutputs(Protocol):
    """A teacher's states for the texts that a student learns from."""

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        """The states of the texts ``rows``, whose inputs are ``batch``; states of tokens are padded like the inputs."""
        ...


@dataclass(frozen=True)
class Examples:
    """Encoded texts with their targets.

    Attributes:
        encodings: token ids of each text.
        targets: int64 ``[k]`` for single-label tasks, float32 ``[k, labels]`` for multi-label ones, of the first ``k``
            texts; the texts after them have no label.
        teacher: the teacher's states for these texts, if there is a teacher.
    """

    encodings: Encodings
    targets: Targets
    teacher: TeacherOutputs | None = None

    def __len__(self) -> int:
        return len(self.encodings)

    def sample(self, rows: Rows) -> "Examples":
        """The examples ``rows``, which all have a label, without a teacher."""
        return Examples(Encodings.pack(self.encodings[row] for row in rows), self.targets[rows])

    def batch(self, rows: Sequence[int] | Rows, device: torch.device | str = "cpu") -> Batch:
        """The examples ``rows`` as tensors on ``device``, padded to the longest."""
        batch = {name: torch.from_numpy(array) for name, array in pad([self.encodings[row] for row in rows]).items()}
        labelled = np.asarray(rows) < len(self.targets)
        targets = np.zeros((len(rows), *self.targets.shape[1:]), dtype=self.targets.dtype)
        targets[labelled] = self.targets[np.asarray(rows)[labelled]]
        batch |= {"targets": torch.from_numpy(targets), "labelled": torch.from_numpy(labelled)}
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        if self.teacher is not None:
            states = self.teacher([int(row) for row in rows], batch)
            batch |= {TEACHER_PREFIX + name: state.to(device) for name, state in states.items()}
        return batch


class LengthBatches:
    """Random batches of texts of similar length, all of about as many tokens: long texts come in smaller batches.

    The batches are the same for the same seed and epoch; every text comes once an epoch. ``lengths`` holds the tokens
    of each text, ``[n]``; ``batch_size`` texts of mean length set the tokens of all batches.
    """

    def __init__(self, lengths: Rows, batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._seed = seed
        self._pool = batch_size * 50  # texts are sorted by length only within it, so the order stays random overall
        self.batch_tokens = int(np.ceil(lengths.mean() * batch_size))

    def epoch(self, number: int) -> list[Rows]:
        """The row numbers of each batch of epoch ``number``."""
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(len(self._lengths))
        batches: list[Rows] = []
        for start in range(0, len(order), self._pool):
            rows = order[start : start + self._pool]
            batches += split_by_tokens(rows, self._lengths, self.batch_tokens)
        return [batches[index] for index in rng.permutation(len(batches))]


def split_by_tokens(rows: Rows, lengths: Rows, tokens: int) -> list[Rows]:
    """Groups of ``rows`` of similar length: each has one text, or as many as fit ``tokens`` once padded."""
    return [rows[group] for group in by_length(lengths[rows].tolist(), tokens)]


class BatchSchedule:
    """The batches of every step of a training, for one of the processes that train together.

    A step takes ``gradient_accumulation`` batches in every process. If an epoch's last step lacks batches, it takes the
    epoch's first ones again.
    """

    def __init__(self, lengths: Rows, config: TrainingConfig, processes: int = 1, process: int = 0) -> None:
        self.batches_per_step = config.gradient_accumulation
        self._order = LengthBatches(lengths, config.batch_size, config.seed)
        self._texts, self._epochs = len(lengths), config.epochs
        self._processes, self._process = processes, process
        self._batches_of_all = self.batches_per_step * processes  # in a step, over all processes

    @cached_property
    def epoch_steps(self) -> list[int]:
        """Steps of each epoch; they differ a little, because texts are put into batches at random.

        An epoch that is done in part takes its first steps, which read a random part of the texts.
        """
        steps = [-(-len(self._order.epoch(epoch)) // self._batches_of_all) for epoch in range(math.ceil(self._epochs))]
        last = steps[-1] * (self._epochs - len(steps) + 1)
        return [*steps[:-1], max(1, math.ceil(round(last, 6)))]  # 0.1 + 2 - 2 is a little more than 0.1

    @property
    def rows(self) -> Rows:
        """The texts that any of the processes reads, in ascending order."""
        if self._epochs >= 1:
            return np.arange(self._texts)
        return np.sort(np.concatenate(self._order.epoch(0)[: self.steps * self._batches_of_all]))

    @property
    def steps(self) -> int:
        """Steps of all epochs together."""
        return sum(self.epoch_steps)

    @cached_property
    def texts_per_batch(self) -> float:
        """The mean number of texts in a batch."""
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
            first = step * self._batches_of_all
            own = range(first + self._process, first + self._batches_of_all, self._processes)
            yield [batches[index % len(batches)] for index in own]
