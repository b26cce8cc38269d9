"""Reads the :class:`Dataset` that the ``--data`` settings name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compress.config import DataConfig
from compress.data.dataset import Dataset, DataSource, Split
from compress.data.labels import (
    holds_lists,
    indicator_name,
    indicator_width,
    label_doubts,
    named_indicators,
    read_labels,
)
from compress.data.sources import SourceTables, SplitName, find_tables
from compress.data.split import hold_out, identical
from compress.data.tables import (
    WITHHELD,
    Rows,
    Table,
    columns_in,
    label_cells,
    read_rows,
    read_texts,
    text_columns,
    usual_label_columns,
)
from compress.errors import CompressError
from compress.formatting import some
from compress.progress import say, say_before_work
from compress.task import Task, is_multi_label

_HELD_OUT_SHARE = 0.1
_MOST_VALIDATION_ROWS = 2_000  # more would cost training time and decide little


def read_dataset(config: DataConfig) -> Dataset:
    """Read the splits that ``config`` names, and make those that are missing from the train rows.

    A missing test split is 10% of the train rows, and so is a missing validation split, but at most 2,000 rows
    where there is a test split. Splits that the source has are never changed; but a test split without labels
    measures nothing, so it is left out where the train rows have labels.

    Raises:
        CompressError: the source is missing, malformed, has one class only, or has labels that train does not have.
    """
    return _read(config, find_tables(config))


def _read(config: DataConfig, source: SourceTables) -> Dataset:
    tables = _without_unlabelled_test(config, source)
    first = tables["train"][0]
    _say_which_label_column(config, first)
    rows = {split: read_rows(parts, config.text, config.label, first) for split, parts in tables.items()}
    rows, indicated = _read_indicators(rows, config.label)
    task = _task(rows)
    splits, labels = _read_splits(rows, indicated, is_multi_label(task))
    dataset = Dataset(task, labels, *_complete(splits, config.split_seed, config.data))
    read = _source(config, dataset, tables, rows["train"], source.unused(tables))
    say_before_work(f"data: {read.describe()}")
    return replace(dataset, source=read)


def read_test(config: DataConfig) -> tuple[Split, Task]:
    """The test split and its task, as :func:`read_dataset` has them, or texts alone where nothing has labels.

    Without labels and without a test split, all texts are test texts.
    """
    source = find_tables(config)
    if config.label or any(_label_cells(config, source, split) - WITHHELD for split in ("train", "test")):
        dataset = _read(config, source)
        return dataset.test, dataset.task
    tables = source.tables.get("test", source.tables["train"])
    columns = text_columns(source.tables["train"][0], config.text)
    texts = [text for table in tables for text in read_texts(table, columns_in(table, columns) or config.text)]
    files, unused = {"test": _names(tables)}, source.unused({"test": tables})
    read = DataSource(config.data, files, unused, list(columns), [], {"test": len(texts)})
    say_before_work(f"data: {read.describe()}")
    return Split(texts, []), "pair_single_label" if isinstance(texts[0], tuple) else "single_label"


def _without_unlabelled_test(config: DataConfig, source: SourceTables) -> dict[SplitName, list[Table]]:
    """The source's tables, without a test split that has no labels where the train rows have labels."""
    tables, classes = dict(source.tables), _label_cells(config, source, "train")
    withheld = frozenset() if classes & WITHHELD else WITHHELD  # where train rows have -1, it is a class
    if "test" in tables and classes - WITHHELD and not _label_cells(config, source, "test") - withheld:
        names = ", ".join(table.name for table in tables.pop("test"))
        say(f"data: {names} has no labels, so it is left out; a test split is held out from the train rows")
    return tables


def _say_which_label_column(config: DataConfig, train: Table) -> None:
    usual = [] if config.label else usual_label_columns(train)
    if len(usual) > 1:
        say_before_work(f'data: the label is read from column "{usual[0]}"; for "{usual[1]}" give --label {usual[1]}')


def _label_cells(config: DataConfig, source: SourceTables, split: SplitName) -> set[str]:
    first = source.tables["train"][0]
    return set().union(*(label_cells(table, config.label, first) for table in source.tables.get(split, ())))


def _read_indicators(
    rows: Mapping[SplitName, Rows], columns: Sequence[str]
) -> tuple[dict[SplitName, Rows], Sequence[str]]:
    """The rows with zeros and ones turned into lists of names, and the names of all labels that have a number."""
    if len(columns) > 1:
        return dict(rows), columns
    width = indicator_width(rows["train"].cells, some(rows["train"].names))
    if width is None:
        return dict(rows), ()
    named = {
        split: replace(part, cells=named_indicators(part.cells, part.places, width)) for split, part in rows.items()
    }
    return named, [indicator_name(index) for index in range(width)]


def _task(rows: Mapping[SplitName, Rows]) -> Task:
    pair = isinstance(rows["train"].texts[0], tuple)
    for split_rows in rows.values():
        for text, place in zip(split_rows.texts, split_rows.places, strict=True):
            if isinstance(text, tuple) != pair:
                raise CompressError(
                    f"{place}: {'a single text' if pair else 'a pair of texts'}, unlike the first train row; "
                    f"name the columns with --text (twice for a pair)"
                )
    multi_label = holds_lists(rows["train"].cells)
    if pair:
        return "pair_multi_label" if multi_label else "pair_single_label"
    return "multi_label" if multi_label else "single_label"


def _read_splits(
    rows: Mapping[SplitName, Rows], indicated: Sequence[str], multi_label: bool
) -> tuple[dict[SplitName, Split], tuple[str, ...]]:
    """The texts and labels of each split, and the labels of the train split; the others may have no more."""

    def read(split: SplitName) -> Split:
        part = rows[split]
        return Split(part.texts, read_labels(part.cells, part.places, multi_label))

    splits: dict[SplitName, Split] = {"train": read("train")}
    labels = _train_labels(splits["train"], rows["train"].names, indicated)
    splits |= {split: read(split) for split in rows if split != "train"}
    for name, split in splits.items():
        _refuse_unknown(split, rows[name].places, labels)
    for doubt in label_doubts(labels):
        say_before_work(f"data: {doubt}")
    return splits, labels


def _train_labels(train: Split, tables: Sequence[str], indicated: Sequence[str]) -> tuple[str, ...]:
    labels = tuple(sorted({label for names in train.labels for label in names}))
    if len(labels) < 2:
        only = f'the only label is "{labels[0]}"' if labels else "no row has a label"
        raise CompressError(f"{some(tables)}: {only}; a classifier needs at least two classes to tell apart")
    if len(labels) < len(indicated):
        unseen = [name for name in indicated if name not in labels]
        raise CompressError(
            f"{some(tables)}: no row has a 1 for {some(unseen or indicated)}; a label needs a row to learn from: "
            f"add one, or leave out its column"
        )
    return labels


def _refuse_unknown(split: Split, places: Sequence[str], labels: Sequence[str]) -> None:
    known = set(labels)
    for names, place in zip(split.labels, places, strict=True):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise CompressError(
                f'{place}: the label "{unknown[0]}" is not in the train split, which has {some(labels)}; '
                f"mend the label, or add train rows that have it"
            )


def _complete(splits: Mapping[SplitName, Split], seed: int, source: str) -> tuple[Split, Split, Split]:
    """The splits train, validation and test; missing ones are held out from train.

    The test split has the same rows with and without a validation file: otherwise a model could be trained on the rows
    that another command, with one file more, takes for the test split.
    """
    train = splits["train"]
    if {"validation", "test"} <= splits.keys():
        return train, splits["validation"], splits["test"]
    tenth = max(1, round(len(train) * _HELD_OUT_SHARE))
    sizes = [tenth, tenth] if "test" not in splits else [min(tenth, _MOST_VALIDATION_ROWS)]
    parts = hold_out(train.texts, train.labels, sizes, seed)
    if "validation" in splits:  # its rows are held out all the same, and go back to train
        spare, *parts = parts
        parts[-1] = sorted(spare + parts[-1])
    if not all(parts):
        raise CompressError(f"{source}: {_why_too_few(train)}; give --validation FILE and --test FILE")
    *held_out, rest = map(train.of_rows, parts)
    missing = [name for name in ("validation", "test") if name not in splits]
    whole = dict(splits) | dict(zip(missing, held_out, strict=True))
    return rest, whole["validation"], whole["test"]


def _why_too_few(train: Split) -> str:
    different = len(set(identical(train.texts)))
    counts = Counter(label for names in train.labels for label in names)
    spare = sum(count > 1 for count in counts.values())
    return (
        f"no split can be held out of {len(train)} rows: they have {different} different texts, and {spare} of "
        f"{len(counts)} labels have a row to spare (a label's last row stays for training)"
    )


def _names(tables: Sequence[Table]) -> list[str]:
    """The tables' names, files without their folder."""
    return [Path(table.name).name if Path(table.name).exists() else table.name for table in tables]


def _source(
    config: DataConfig,
    dataset: Dataset,
    tables: Mapping[SplitName, Sequence[Table]],
    train: Rows,
    unused: list[str],
) -> DataSource:
    labels_of = {name: {label for names in split.labels for label in names} for name, split in dataset.splits.items()}
    lacking = {name: [label for label in dataset.labels if label not in labels] for name, labels in labels_of.items()}
    texts = set(dataset.train.texts)
    return DataSource(
        data=config.data,
        files={split: _names(parts) for split, parts in tables.items()},
        unused=unused,
        text=list(train.text),
        label=list(train.label),
        rows={name: len(split) for name, split in dataset.splits.items()},
        held_out=[split for split in dataset.splits if split not in tables],
        labels=list(dataset.labels),
        lacking={name: labels for name, labels in lacking.items() if labels},
        repeated=sum(text in texts for text in dataset.test.texts),
    )
