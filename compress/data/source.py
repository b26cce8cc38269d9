"""What was read to make a data set, for the line that every step prints and for the manifest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class DataSource:
    """What was read.

    Attributes:
        data: the file, folder or hub id that was given.
        files: the files, or the hub's splits, of each split that the source has.
        unused: what else is in the folder.
        text: the columns that hold the text.
        label: the columns that hold the label; none where no labels were read.
        rows: how many rows each split has.
        held_out: the splits that were made from train rows.
        labels: the names of all labels.
        lacking: by split, the labels of train that it has no row of.
        repeated: how many test texts are in the train split too.
    """

    data: str
    files: dict[str, list[str]]
    unused: list[str]
    text: list[str]
    label: list[str]
    rows: dict[str, int]
    held_out: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    repeated: int = 0

    def describe(self) -> str:
        """All of it in one line, lists cut at five names."""
        named = [f"{split} from {some(names)}" for split, names in self.files.items()]
        columns = f"text from {_quoted(self.text)}" + (f", label from {_quoted(self.label)}" if self.label else "")
        rows = [
            f"{count:,} {split}{' (held out from train)' if split in self.held_out else ''}"
            for split, count in self.rows.items()
        ]
        parts = [
            f"{self.data}: {', '.join(named)}",
            *([f"not used: {some(self.unused)}"] if self.unused else []),
            columns,
            f"rows: {', '.join(rows)}",
            f"{len(self.labels)} labels: {some(self.labels)}" if self.labels else "no labels",
            *(f"no {split} row has {some(names, 'or')}" for split, names in self.lacking.items()),
            *([f"{self.repeated:,} test texts are in train too"] if self.repeated else []),
        ]
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """All of it for a manifest, which has the labels' names elsewhere; lists of files and labels cut at five."""
        cut = {
            "files": {split: some(names) for split, names in self.files.items()},
            "unused": some(self.unused),
            "labels": {"count": len(self.labels), "first": self.labels[:5]},
            "lacking": {split: some(names) for split, names in self.lacking.items()},
        }
        return asdict(self) | cut


def some(names: Sequence[str], word: str = "and", most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" {word} {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _quoted(names: Sequence[str]) -> str:
    return some([f'"{name}"' for name in names])
