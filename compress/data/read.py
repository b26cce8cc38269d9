"""From the ``--data`` settings to a :class:`Dataset`."""

from collections.abc import Mapping, Sequence

from compress.config import DataConfig
from compress.data.columns import has_label_column
from compress.data.dataset import Dataset, Split, Task
from compress.data.rows import Rows, holds_lists, read_labels, read_rows, read_texts
from compress.data.sources import SplitName, find_tables
from compress.data.split import hold_out
from compress.data.tables import Table
from compress.errors import CompressError
from compress.progress import say
from compress.task import is_multi_label

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
    tables = find_tables(config)
    if "test" in tables and _labelled(tables["train"], config) and not _labelled(tables["test"], config):
        names = ", ".join(table.name for table in tables.pop("test"))
        say(f"data: {names} has no labels, so it is left out; a test split is held out from the train rows")
    rows = {split: read_rows(found, config.text, config.label) for split, found in tables.items()}
    task = _task(rows)
    labels = _train_labels(rows["train"], task)
    splits = {split: _split(found, task, labels) for split, found in rows.items()}
    train, validation, test = _complete(splits, config.split_seed, config.data)
    return Dataset(task, labels, train, validation, test)


def read_test(config: DataConfig) -> tuple[Split, Task]:
    """The test split and its task: that of :func:`read_dataset`, or texts alone where nothing has labels.

    Without labels and without a test split, all texts are test texts.
    """
    tables = find_tables(config)
    found = tables.get("test", tables["train"])
    if config.label is not None or _labelled(found, config) or _labelled(tables["train"], config):
        dataset = read_dataset(config)
        return dataset.test, dataset.task
    texts = [text for table in found for text in read_texts(table, config.text)]
    return Split(texts, []), "pair_single_label" if isinstance(texts[0], tuple) else "single_label"


def _labelled(tables: Sequence[Table], config: DataConfig) -> bool:
    return any(config.label in table.columns or (not config.label and has_label_column(table)) for table in tables)


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


def _train_labels(rows: Rows, task: Task) -> tuple[str, ...]:
    labels = tuple(sorted({label for names in read_labels(rows, is_multi_label(task)) for label in names}))
    if len(labels) < 2:
        only = f'the only label is "{labels[0]}"' if labels else "no row has a label"
        raise CompressError(f"{', '.join(rows.names)}: {only}; a classifier needs at least two classes to tell apart")
    return labels


def _split(rows: Rows, task: Task, labels: Sequence[str]) -> Split:
    split = Split(rows.texts, read_labels(rows, is_multi_label(task)))
    known = set(labels)
    for names, place in zip(split.labels, rows.places, strict=True):
        for name in names:
            if name not in known:
                raise CompressError(
                    f'{place}: the label "{name}" is not in the train split, which has {", ".join(labels)}; '
                    f"mend the label, or add train rows that have it"
                )
    return split


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
        raise CompressError(
            f"{source}: too few different texts ({len(train)} rows) to hold out a split; "
            f"give --validation FILE and --test FILE"
        )
    *held_out, rest = [_pick(train, part) for part in parts]
    missing = [name for name in ("validation", "test") if name not in splits]
    whole = dict(splits) | dict(zip(missing, held_out, strict=True))
    return rest, whole["validation"], whole["test"]


def _pick(split: Split, rows: Sequence[int]) -> Split:
    return Split([split.texts[row] for row in rows], [split.labels[row] for row in rows])
