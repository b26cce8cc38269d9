"""A data set, as every step reads it: texts, label names and splits, their source, and how it is written to files."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.formatting import some
from compress.runtime.encoding import Text
from compress.task import Task, is_multi_label, reads_pairs


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

    def of_rows(self, rows: Iterable[int]) -> "Split":
        """A split of only these ``rows``, in this order."""
        chosen = list(rows)
        return Split([self.texts[row] for row in chosen], [self.labels[row] for row in chosen])

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
class DataSource:
    """The source of a data set, for the line that every step prints and for the manifest."""

    data: str  # the file, folder or hub id that was given
    files: dict[str, list[str]]  # the files, or the hub's splits, of each split that the source has
    unused: list[str]  # other files in the folder
    text: list[str]  # the columns that hold the text
    label: list[str]  # the columns that hold the label; none where no labels were read
    rows: dict[str, int]  # number of rows of each split
    held_out: list[str] = field(default_factory=list)  # the splits that were made from train rows
    labels: list[str] = field(default_factory=list)
    lacking: dict[str, list[str]] = field(default_factory=dict)  # by split, the labels of train that no row has
    repeated: int = 0  # number of test texts that are in the train split too

    def describe(self) -> str:
        """The source in one line, lists cut at five names."""
        lone = list(self.files.values()) == [[Path(self.data).name]]  # a file, named already
        named = [f"{split} from {some(names)}" for split, names in self.files.items() if not lone]
        columns = f"text from {_quoted(self.text)}" + (f", label from {_quoted(self.label)}" if self.label else "")
        rows = [
            f"{count:,} {split}{' (held out from train)' if split in self.held_out else ''}"
            for split, count in self.rows.items()
        ]
        parts = [
            f"{self.data}: {', '.join(named)}" if named else self.data,
            *([f"not used: {some(self.unused)}"] if self.unused else []),
            columns,
            f"rows: {', '.join(rows)}",
            f"{len(self.labels)} labels: {some(self.labels)}" if self.labels else "no labels",
            *(f"no {split} row has {some(names, 'or')}" for split, names in self.lacking.items()),
            *([f"{self.repeated:,} test texts are in train too"] if self.repeated else []),
        ]
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The source for a manifest, which has the labels' names elsewhere; lists are cut at five names."""
        return asdict(self) | {
            "files": {split: some(names) for split, names in self.files.items()},
            "unused": some(self.unused),
            "labels": {"count": len(self.labels), "first": self.labels[:5]},
            "lacking": {split: some(names) for split, names in self.lacking.items()},
        }


@dataclass(frozen=True)
class Dataset:
    """A task and its splits.

    Attributes:
        task: what is read (one text or a pair) and what is answered (one label or any number of them).
        labels: the label names of the train split, sorted; the order of a model's outputs.
        train: the rows to learn from.
        validation: the rows to choose by.
        test: the rows to report on.
        source: where it was read; None where it was made in memory.
    """

    task: Task
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: DataSource | None = field(default=None, compare=False)

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def pairs(self) -> bool:
        """Whether a row is a pair of texts."""
        return reads_pairs(self.task)

    @cached_property
    def digest(self) -> str:
        """The sha256 of task, labels and all rows of all splits: equal exactly if the data are."""
        sha256 = hashlib.sha256(json.dumps([self.task, self.labels]).encode())
        for split in self.splits.values():
            sha256.update(json.dumps([split.texts, split.labels]).encode())
        return sha256.hexdigest()


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl``, from which the same data set is read back."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in dataset.splits.items():
        (folder / f"{name}.jsonl").write_text(_jsonl(split, dataset.task), encoding="utf-8", newline="\n")


def _jsonl(split: Split, task: str) -> str:
    lines = []
    for text, labels in zip(split.texts, split.labels, strict=True):
        row = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
        answer = {"labels": labels} if is_multi_label(task) else {"label": labels[0]}
        lines.append(json.dumps(row | answer, ensure_ascii=False) + "\n")
    return "".join(lines)


def _quoted(names: Sequence[str]) -> str:
    return some([f'"{name}"' for name in names])
