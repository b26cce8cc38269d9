"""What every step reads: texts, label names and splits, whatever they came from."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from compress.data.source import DataSource, some
from compress.errors import CompressError
from compress.runtime.encoding import Text
from compress.task import is_multi_label, reads_pairs

Task = Literal["single_label", "multi_label", "pair_single_label", "pair_multi_label"]


@dataclass(frozen=True)
class Split:
    """The rows of one split.

    Attributes:
        texts: a string a row, or a pair of strings for pair tasks.
        labels: the label names of each row; exactly one for single-label tasks.
    """

    texts: list[Text]
    labels: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.texts)

    def targets(self, labels: Sequence[str], task: str) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """The labels as a model is trained on them, columns in the order of ``labels``.

        Returns:
            int64 ``[n]`` for a single-label task; zeros and ones, float32 ``[n, len(labels)]``, for a multi-label task.

        Raises:
            CompressError: a row has a label that is not in ``labels``.
        """
        column = {label: index for index, label in enumerate(labels)}
        unknown = {label for row in self.labels for label in row} - column.keys()
        if unknown:
            raise CompressError(
                f'the data has the label "{min(unknown)}", which is not among {some(labels)}; '
                f"use data with the labels that the model was trained on"
            )
        if not is_multi_label(task):
            return np.array([column[row[0]] for row in self.labels], dtype=np.int64)
        targets = np.zeros((len(self), len(labels)), dtype=np.float32)
        for row, names in enumerate(self.labels):
            targets[row, [column[name] for name in names]] = 1.0
        return targets


@dataclass(frozen=True)
class Dataset:
    """A task and its splits.

    Attributes:
        task: what is read (one text or a pair) and what is answered (one label or any number of them).
        labels: the label names of the train split, sorted; the order of a model's outputs.
        train: the rows to learn from.
        validation: the rows to choose by.
        test: the rows to report on.
        source: what was read to make it; None where it was made in memory.
    """

    task: Task
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: DataSource | None = field(default=None, compare=False)

    @property
    def pairs(self) -> bool:
        """Whether a row is a pair of texts."""
        return reads_pairs(self.task)

    @cached_property
    def digest(self) -> str:
        """The sha256 of task, labels and all rows of all splits: equal exactly if the data are."""
        sha256 = hashlib.sha256(json.dumps([self.task, self.labels]).encode())
        for split in (self.train, self.validation, self.test):
            sha256.update(json.dumps([split.texts, split.labels]).encode())
        return sha256.hexdigest()
