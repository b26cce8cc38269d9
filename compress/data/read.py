"""From the ``--data`` settings to a :class:`Dataset`."""

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
from compress.data.sources import Found, SplitName, find_tables
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

    A missing test split is 10% of the train rows, a missing validation split too, at most 2,000 rows where there is a
    test split. Splits that the source has are never changed; but a test split without labels measures nothing, so it
    is left out where the train rows have labels.

    Raises:
        CompressError: the source is missing, malformed, has one class only, or has labels that train does not have.
    """
    return _read(config, find_tables(config))


def _read(config: DataConfig, source: Found) -> Dataset:
    tables = _without_unlabelled_test(config, source)
    _say_which_label_column(config, tables["train"][0])
    rows = {split: read_rows(found, config.text, config.label, tables["train"][0]) for split, found in tables.items()}
    rows, indicated = _read_indicators(rows, config.label)
    task = _task(rows)
    splits, labels = _read_splits(rows, indicated, is_multi_label(task))
    dataset = Dataset(task, labels, *_complete(splits, config.split_seed, config.data))
    read = _source(config, dataset, tables, rows["train"], source.unused(tables))
    say_before_work(f"data: {read.describe()}")
    return replace(dataset, source=read)


def read_test(config: DataConfig) -> tuple[Split, Task]:
    """The test split and its task: that of :func:`read_dataset`, or texts alone where nothing has labels.

    Without labels and without a test split, all texts are test texts.
    """
    source = find_tables(config)
    if config.label or any(_label_cells(config, source, split) - WITHHELD for split in ("train", "test")):
        dataset = _read(config, source)
        return dataset.test, dataset.task
    found = source.tables.get("test", source.tables["train"])
    columns = text_columns(source.tables["train"][0], config.text)
    texts = [text for table in found for text in read_texts(table, columns_in(table, columns) or config.text)]
    read, unused = {"test": _names(found)}, source.unused({"test": found})
    told = DataSource(config.data, read, unused, list(columns), [], {"test": len(texts)})
    say_before_work(f"data: {told.describe()}")
    return Split(texts, []), "pair_single_label" if isinstance(texts[0], tuple) else "single_label"


def _without_unlabelled_test(config: DataConfig, source: Found) -> dict[SplitName, list[Table]]:
    """The source's tables; those of a test split without labels are left out where the train rows have some."""
    tables, classes = dict(source.tables), _label_cells(config, source, "train")
    withheld = frozenset() if classes & WITHHELD else WITHHELD  # -1 is one of these classes
    if "test" in tables and classes - WITHHELD and not _label_cells(config, source, "test") - withheld:
        names = ", ".join(table.name for table in tables.pop("test"))
        say(f"data: {names} has no labels, so it is left out; a test split is held out from the train rows")
    return tables


def _say_which_label_column(config: DataConfig, train: Table) -> None:
    usual = [] if config.label else usual_label_columns(train)
    if len(usual) > 1:
        say_before_work(f'data: the label is read from column "{usual[0]}"; for "{usual[1]}" give --label {usual[1]}')


def _label_cells(config: DataConfig, source: Found, split: SplitName) -> set[str]:
    first = source.tables["train"][0]
    return set().union(*(label_cells(table, config.label, first) for table in source.tables.get(split, ())))


def _read_indicators(
    rows: Mapping[SplitName, Rows], columns: Sequence[str]
) -> tuple[dict[SplitName, Rows], Sequence[str]]:
    """Rows of zeros and ones as lists of names, and the labels that they have a number for."""
    if len(columns) > 1:
        return dict(rows), columns
    width = indicator_width(rows["train"].cells, some(rows["train"].names))
    if width is None:
        return dict(rows), ()
    named = {
        split: replace(found, cells=named_indicators(found.cells, found.places, width)) for split, found in rows.items()
    }
    return named, [indicator_name(index) for index in range(width)]


def _task(rows: Mapping[SplitName, Rows]) -> Task:
    pair = isinstance(rows["train"].texts[0], tuple)
    for found in rows.values():
        for text, place in zip(found.texts, found.places, strict=True):
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
    """The texts and labels of each split, and the labels of the train split, which are all that the others may have."""

    def read(split: SplitName) -> Split:
        found = rows[split]
        return Split(found.texts, read_labels(found.cells, found.places, multi_label))

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
    """Train, validation and test; what is missing is held out from train.

    A test split is the same rows with a validation file and without: else a model could be trained on what another
    command, to which one more file is named, takes for the test split.
    """
    train = splits["train"]
    if {"validation", "test"} <= splits.keys():
        return train, splits["validation"], splits["test"]
    tenth = max(1, round(len(train) * _HELD_OUT_SHARE))
    sizes = [tenth, tenth] if "test" not in splits else [min(tenth, _MOST_VALIDATION_ROWS)]
    parts = hold_out(train.texts, train.labels, sizes, seed)
    if "validation" in splits:  # only its place is held: its rows go back to train
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
    """The files' names without their folder; the hub's as they are."""
    return [Path(table.name).name if Path(table.name).exists() else table.name for table in tables]


def _source(
    config: DataConfig,
    dataset: Dataset,
    tables: Mapping[SplitName, Sequence[Table]],
    train: Rows,
    unused: list[str],
) -> DataSource:
    seen = {name: {label for names in split.labels for label in names} for name, split in dataset.splits.items()}
    lacking = {name: [label for label in dataset.labels if label not in found] for name, found in seen.items()}
    texts = set(dataset.train.texts)
    return DataSource(
        data=config.data,
        files={split: _names(found) for split, found in tables.items()},
        unused=unused,
        text=list(train.text),
        label=list(train.label),
        rows={name: len(split) for name, split in dataset.splits.items()},
        held_out=[split for split in dataset.splits if split not in tables],
        labels=list(dataset.labels),
        lacking={name: labels for name, labels in lacking.items() if labels},
        repeated=sum(text in texts for text in dataset.test.texts),
    )
