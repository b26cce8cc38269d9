"""What a training step sees: examples, and the order and shape in which they come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from compress.modeling.states import Batch, States
from compress.runtime.encoding import pad
from compress.training.encodings import Encodings
from compress.training.objective import TEACHER

# Texts are sorted by length only inside a pool of so many batches, so that the order stays random overall.
_POOL_BATCHES = 50

Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]


class TeacherOutputs(Protocol):
    """A teacher's states for the texts that a student learns from."""

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        """The states of the examples ``rows``, whose inputs are ``batch``; token states are padded as these are."""
        ...


@dataclass(frozen=True)
class Examples:
    """Encoded texts with their targets.

    Attributes:
        encodings: token ids of each text.
        targets: int64 ``[k]`` for single-label tasks, float32 ``[k, labels]`` for multi-label ones, of the first ``k``
            texts; those after them have no label.
        answers: a teacher's, where there is one.
    """

    encodings: Encodings
    targets: Targets
    answers: TeacherOutputs | None = None

    def __len__(self) -> int:
        return len(self.encodings)

    def with_answers(self, answers: TeacherOutputs) -> "Examples":
        """The same examples with a teacher's answers."""
        return replace(self, answers=answers)

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64], device: torch.device | str = "cpu") -> Batch:
        """The examples ``rows`` as tensors on ``device``, padded to the longest."""
        batch = {name: torch.from_numpy(array) for name, array in pad([self.encodings[row] for row in rows]).items()}
        labelled = np.asarray(rows) < len(self.targets)
        targets = np.zeros((len(rows), *self.targets.shape[1:]), dtype=self.targets.dtype)
        targets[labelled] = self.targets[np.asarray(rows)[labelled]]
        batch |= {"targets": torch.from_numpy(targets), "labelled": torch.from_numpy(labelled)}
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        if self.answers is not None:
            states = self.answers([int(row) for row in rows], batch)
            batch |= {TEACHER + name: state.to(device) for name, state in states.items()}
        return batch


class LengthBatches:
    """Random batches of texts of like length, all of about as many tokens: a long text takes the place of many short.

    The same for the same seed and epoch; every text comes once an epoch.

    Args:
        lengths: tokens of each text, ``[n]``.
        batch_size: texts in a batch of texts of mean length, which sets the tokens of all batches.
        seed: of the order.
    """

    def __init__(self, lengths: npt.NDArray[np.int64], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._seed = seed
        self._pool = batch_size * _POOL_BATCHES
        self.batch_tokens = int(np.ceil(lengths.mean() * batch_size))

    def epoch(self, number: int) -> list[npt.NDArray[np.int64]]:
        """The row numbers of each batch of epoch ``number``."""
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(len(self._lengths))
        batches: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(order), self._pool):
            rows = order[start : start + self._pool]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches += self._cut(rows)
        return [batches[index] for index in rng.permutation(len(batches))]

    def _cut(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Consecutive groups of ``rows``, shortest first: one text, or as many as fit the budget once padded."""
        groups, start = [], 0
        for at in range(len(rows)):
            if at > start and (at + 1 - start) * self._lengths[rows[at]] > self.batch_tokens:
                groups.append(rows[start:at])
                start = at
        return [*groups, rows[start:]]
