"""Which files, or which hub data set, each split comes from."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

from compress.config import DataConfig
from compress.data.columns import label_column
from compress.data.hub import hub_tables
from compress.data.tables import SUFFIXES, Table, read_table
from compress.demo_assets import BBC_NEWS, bbc_news
from compress.errors import CompressError
from compress.paths import local_path

SplitName = Literal["train", "validation", "test"]

_SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_NAMES_SHOWN = 10


def find_tables(config: DataConfig) -> dict[SplitName, list[Table]]:
    """The tables of each split that the source has; ``train`` is always there.

    A file is a train split to be divided; in a folder and on the hub a split is known by a word of its name, as in
    ``msr_paraphrase_train.txt``, ``dev.jsonl`` or ``train-00000-of-00001.parquet``.

    Raises:
        CompressError: nothing is found, two files claim one split, or a file cannot be read.
    """
    given: dict[SplitName, str | None] = {"train": config.train, "validation": config.validation, "test": config.test}
    files: dict[SplitName, list[Path]] = {
        split: [local_path(name)] for split, name in given.items() if name is not None
    }
    tables: dict[SplitName, list[Table]] = {}
    path = local_path(config.data)
    contents = _list_folder(path)
    if config.data == BBC_NEWS:
        texts, topics = bbc_news()
        tables = {"train": [Table(BBC_NEWS, {"text": texts, "label": topics}, range(1, len(texts) + 1), "article")]}
    elif contents is not None:
        files = _files_by_split(path, contents, files.keys()) | files
    elif path.is_file():
        files.setdefault("train", [path])
    elif _looks_like_path(config.data):
        raise CompressError(f"{path}: no such file or folder; give one that exists, or a hub id such as glue/sst2")
    else:
        tables = _hub_splits(hub_tables(config.data), config.label)
    tables |= {split: [read_table(file) for file in found] for split, found in files.items()}
    if "train" not in tables:
        found = f"it has {_list(file.name for file in contents)}" if contents else "nothing is there"
        raise CompressError(
            f"{path}: no train split; {found}; name the files train, validation and test, "
            f"ending in {', '.join(SUFFIXES)}, or give --train FILE"
        )
    return {split: tables[split] for split in given if split in tables}  # train first: errors are told in this order


def _list_folder(path: Path) -> list[Path] | None:
    """What is in a folder, hidden files aside; None where ``path`` is not a folder."""
    try:
        return sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CompressError(f"{path}: {error.strerror}; give a folder or file that can be read") from None


def _files_by_split(path: Path, contents: list[Path], replaced: Collection[SplitName]) -> dict[SplitName, list[Path]]:
    """The files of each split that is not replaced; several for one split only where they are numbered shards."""
    files = defaultdict(list)
    for file in contents:
        split = _split_named(file.stem)
        if split and split not in replaced and file.suffix.lower() in SUFFIXES:
            files[split].append(file)
    for split, found in files.items():
        if len(found) > 1 and not all(_SHARD.search(file.stem) for file in found):
            raise CompressError(
                f"{path}: {_list(file.name for file in found)} could each be the {split} split; "
                f"choose one with --{split} FILE"
            )
    return dict(files)


def _hub_splits(found: Mapping[str, Table], label: str | None) -> dict[SplitName, list[Table]]:
    """A hub data set's tables by split; one whose labels are all withheld, as in GLUE's test splits, is left out."""
    tables: dict[SplitName, list[Table]] = {}
    for name, table in found.items():
        split = _split_named(name)
        # MNLI has two validation splits, matched and mismatched: the first is the one that papers use.
        if split and split not in tables and not _withheld(table.columns[label_column(table, label)]):
            tables[split] = [table]
    return tables


def _withheld(labels: list[object]) -> bool:
    return all(label is None for label in labels)


def _split_named(name: str) -> SplitName | None:
    """The split that a file's or split's name speaks of; None where it names none or several."""
    splits = {_SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None


def _looks_like_path(data: str) -> bool:
    return data.startswith((".", "/", "~")) or data.endswith("/") or "\\" in data or Path(data).suffix[1:].isalpha()


def _list(names: Iterable[str]) -> str:
    names = list(names)
    more = [f"and {len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    return ", ".join(names[:_NAMES_SHOWN] + more)
