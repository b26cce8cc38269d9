"""Finds the files, or the data set of the Hugging Face hub, from which each split is read."""

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compress.config import DataConfig
from compress.data.binary_files import arrow_table
from compress.data.files import FORMATS, is_readable, read_table
from compress.data.tables import WITHHELD, Table, label_cells
from compress.demo_assets import BBC_NEWS, bbc_news
from compress.errors import CompressError
from compress.folder import MANIFEST
from compress.formatting import some
from compress.paths import local_path

SplitName = Literal["train", "validation", "test"]

# As the datasets library has them: it too takes an evaluation file for the test split.
_SPLIT_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout", "heldout"), "test"),
}
_WORD = re.compile(r"h[eo]ld[-_. ]?out|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.ASCII)  # finds both words of trainData
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?(?=\.|$)")
# Programs, notes and pictures may be named like a split; any other file with such a name must be readable.
_NOT_DATA = {".py", ".ipynb", ".sh", ".r", ".md", ".rst", ".log", ".yaml", ".yml", ".toml", ".cfg", ".ini"}
_NOT_DATA |= {".lock", ".png", ".jpg", ".svg", ".pdf", ".html"}


@dataclass(frozen=True)
class SourceTables:
    """The tables in a source of data.

    Attributes:
        tables: the tables of each split; from :func:`find_tables` always with ``train``, which is first.
        contents: the names of all files of its folder, or of all splits of its hub data set, by their tables' names.
    """

    tables: dict[SplitName, list[Table]]
    contents: dict[str, str]

    def unused(self, tables: Mapping[SplitName, Sequence[Table]]) -> list[str]:
        """The names of the source's contents other than these ``tables``."""
        used = {table.name for parts in tables.values() for table in parts}
        return [name for table, name in self.contents.items() if table not in used]


def find_tables(config: DataConfig) -> SourceTables:
    """Read the tables of each split that the source has.

    A lone file is a train split to be divided; in a folder and on the hub a word of its name says which split a file
    is: ``msr_paraphrase_train.txt``, ``dev.jsonl``, ``train-00000-of-00001.parquet``. Where a folder has no such file,
    the files of its folder ``data`` are read, as in a data set of the hub and its clone.
    """
    given: dict[SplitName, str | None] = {"train": config.train, "validation": config.validation, "test": config.test}
    named = {split: local_path(name, f"--{split}") for split, name in given.items() if name is not None}
    path = local_path(config.data, "--data")
    folder = _list_folder(path)
    if config.data == BBC_NEWS:
        source = _demo_texts()
    elif folder is not None and not is_readable(path):
        source = _in_folder(path, folder, named.keys(), config.encoding)
    elif folder is not None or path.is_file():
        source = SourceTables({} if "train" in named else {"train": [read_table(path, config.encoding)]}, {})
    elif _looks_like_path(config.data):
        raise CompressError(f"{path}: no such file or folder; give one that exists, or a hub id such as glue/sst2")
    else:
        source = _on_hub(config.data, config.label)
    tables = source.tables | {split: [read_table(file, config.encoding)] for split, file in named.items()}
    if "train" not in tables:
        if {"config.json", MANIFEST} & set(source.contents.values()):
            raise CompressError(f"{path}: is a model's folder, not data; the model comes first, --data names texts")
        has = f"it has {some(list(source.contents.values()), most=10)}" if source.contents else "nothing is there"
        advice = f"name the files train, validation and test, ending in {FORMATS}, or give --train FILE"
        if folder is None:
            advice = "write the split to train on to a file, and give --train FILE"
        raise CompressError(f"{path}: no train split; {has}; {advice}")
    return SourceTables({split: tables[split] for split in given if split in tables}, source.contents)


def _demo_texts() -> SourceTables:
    texts, topics = bbc_news()
    table = Table(BBC_NEWS, {"text": texts, "label": topics}, range(1, len(texts) + 1), "article")
    return SourceTables({"train": [table]}, {})


def _in_folder(path: Path, contents: list[Path], replaced: Collection[SplitName], encoding: str | None) -> SourceTables:
    """The files of a folder whose names name a split that is not replaced; else those of its folder ``data``."""
    files = _files_by_split(path, contents, replaced)
    inner = [] if files else _list_folder(path / "data") or []
    if in_data := _files_by_split(path / "data", inner, replaced):
        contents, files = inner, in_data
    tables = {split: [read_table(file, encoding) for file in parts] for split, parts in files.items()}
    return SourceTables(tables, {str(file): file.name for file in contents if file.name != "dataset_dict.json"})


def _list_folder(path: Path) -> list[Path] | None:
    """The contents of a folder except hidden files; None where ``path`` is not a folder."""
    try:
        return sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CompressError(f"{path}: {error.strerror}; give a folder or file that can be read") from None


def _files_by_split(path: Path, contents: list[Path], replaced: Collection[SplitName]) -> dict[SplitName, list[Path]]:
    """The files of each split that is not replaced; a split has several only where they are numbered shards."""
    files = defaultdict(list)
    for file in contents:
        split = _split_named(file.name)
        if split and split not in replaced and not _is_beside_the_data(file):
            files[split].append(file)
    for split, parts in files.items():
        if len(parts) > 1 and not all(_SHARD.search(file.name) for file in parts):
            raise CompressError(
                f"{path}: {some([file.name for file in parts])} could each be the {split} split; "
                f"choose one with --{split} FILE"
            )
        unread = next((file for file in parts if not is_readable(file)), None)
        if unread:
            raise CompressError(
                f"{unread}: is named like the {split} split, but such {'folders' if unread.is_dir() else 'files'} are "
                f"not read; give a file that ends in {FORMATS}, with --{split} FILE, or rename it if it is not data"
            )
        _refuse_missing_shards(path, parts)
    return dict(files)


def _is_beside_the_data(file: Path) -> bool:
    """Whether a file or folder named like a split is not data: a program, notes, or a folder such as test_output."""
    if file.is_dir():
        return not is_readable(file) and file.name.lower() not in _SPLIT_WORDS
    return file.suffix.lower() in _NOT_DATA


def _refuse_missing_shards(path: Path, files: list[Path]) -> None:
    numbers = [(int(shard[1]), int(shard[2])) for file in files if (shard := _SHARD.search(file.name))]
    if not numbers:
        return
    count = max(total for _, total in numbers)
    missing = sorted(set(range(count)) - {number for number, _ in numbers})
    if missing or len(numbers) != count:
        which = f"missing: {some([f'{number:05}' for number in missing])}" if missing else "some are there twice"
        raise CompressError(
            f"{path}: {len(numbers)} shards of {files[0].name.split('-')[0]} where there should be {count} "
            f"({which}); download them again"
        )


def hub_tables(name: str) -> dict[str, Table]:
    """The table of each split of a hub data set, by its id, or by ``id/config`` as in ``glue/sst2``."""
    import datasets
    import huggingface_hub

    huggingface_hub.logging.set_verbosity(logging.ERROR)  # five lines of "Retrying" would bury the one that helps
    path, _, config = name.rpartition("/")
    reasons = []
    for arguments in ((name,), (path, config)) if path else ((name,),):
        try:
            splits = datasets.load_dataset(*arguments)
        except Exception as error:  # noqa: BLE001 - the hub's HTTP library raises errors of its own, and it changes
            reasons.append(error)
        else:
            return {
                split: arrow_table(f"{name} ({split})", rows.with_format("arrow")[:]) for split, rows in splits.items()
            }
    raise CompressError(
        f"{name}: no such file or folder here, and the hub gives no data set of that name ({reasons[0]}); "
        f"check the spelling and the network, or give a local path"
    )


def _on_hub(name: str, label: Sequence[str]) -> SourceTables:
    """A hub data set's tables; the first with labels for each split, and no validation split without labels.

    MNLI has two validation splits, matched and mismatched: the first is the one that papers use.
    """
    tables = hub_tables(name)
    labelled: dict[SplitName, list[Table]] = {}
    others: dict[SplitName, list[Table]] = {}
    for part, table in tables.items():
        if split := _split_named(part):
            has_labels = bool(label_cells(table, label, table) - WITHHELD)
            (labelled if has_labels else others).setdefault(split, [table])
    others.pop("validation", None)
    return SourceTables(others | labelled, {table.name: part for part, table in tables.items()})


def _split_named(name: str) -> SplitName | None:
    """The split that the name of a file or split means; None where it names none or several."""
    words = [re.sub(r"[-_. ]", "", word.lower()) for word in _WORD.findall(name)]
    splits = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None


def _looks_like_path(data: str) -> bool:
    return data.startswith((".", "/", "~")) or data.endswith("/") or "\\" in data or Path(data).suffix[1:].isalpha()
