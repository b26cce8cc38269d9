"""What a training step sees: examples, and the order and shape in which they come."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import BatchSampler, DataLoader

from compress.runtime.encoding import Encoding, pad
from compress.runtime.predictor import Logits

# Texts are sorted by length only inside a pool of this many batches, so that the order stays random overall.
_POOL_BATCHES = 50

Batch = dict[str, torch.Tensor]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """Encoded texts with their targets.

    Attributes:
        encodings: token ids of each text.
        targets: int64 ``[n]`` for single-label tasks, float32 ``[n, labels]`` for multi-label ones.
        teacher_logits: float32 ``[n, labels]``, where a teacher has answered them.
    """

    encodings: list[Encoding]
    targets: Targets
    teacher_logits: Logits | None = None

    def __len__(self) -> int:
        return len(self.encodings)

    def with_teacher(self, logits: Logits) -> "Examples":
        """The same examples with a teacher's answers."""
        return replace(self, teacher_logits=logits)


class LengthBatches(BatchSampler):
    """Random batches of texts of like length: the same for the same seed and epoch, every text once an epoch."""

    def __init__(self, examples: Examples, batch_size: int, seed: int) -> None:
        self._lengths = np.array([len(encoding) for encoding in examples.encodings])
        self._seed = seed
        self.batch_size = batch_size
        self.drop_last = False
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(len(self._lengths))
        pool = self.batch_size * _POOL_BATCHES
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches += [rows[at : at + self.batch_size].tolist() for at in range(0, len(rows), self.batch_size)]
        yield from (batches[index] for index in rng.permutation(len(batches)))


def loader(examples: Examples, sampler: LengthBatches) -> DataLoader[Batch]:
    """Batches as tensors: the model's inputs, ``targets``, and ``teacher_logits`` where there are any."""

    def collate(rows: list[int]) -> Batch:
        batch = {
            name: torch.from_numpy(array) for name, array in pad([examples.encodings[row] for row in rows]).items()
        }
        batch["targets"] = torch.from_numpy(examples.targets[rows])
        if examples.teacher_logits is not None:
            batch["teacher_logits"] = torch.from_numpy(examples.teacher_logits[rows])
        return batch

    numbers: list[int] = list(range(len(examples)))
    return DataLoader(numbers, batch_sampler=sampler, collate_fn=collate)  # type: ignore[arg-type]  # rows become a Batch
