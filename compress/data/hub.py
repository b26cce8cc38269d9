"""Data sets of the Hugging Face hub, as tables."""

import logging
from typing import Any

from compress.data.arrow import named_classes
from compress.data.tables import Table
from compress.errors import CompressError


def hub_tables(name: str) -> dict[str, Table]:
    """Load a data set by its id, or by ``id/config`` as in ``glue/sst2``; one table a split, class numbers as names.

    Raises:
        CompressError: nothing of that name can be loaded.
    """
    loaded = _load(name)
    splits = loaded if isinstance(loaded, dict) else {"train": loaded}
    return {split: _table(f"{name} ({split})", rows) for split, rows in splits.items()}


def _load(name: str) -> Any:
    import datasets
    import huggingface_hub

    huggingface_hub.logging.set_verbosity(logging.ERROR)  # five lines of "Retrying" would bury the one that helps
    path, _, config = name.rpartition("/")
    attempts = ((name,), (path, config)) if path else ((name,),)
    reasons = []
    for arguments in attempts:
        try:
            return datasets.load_dataset(*arguments)
        except Exception as error:  # noqa: BLE001 - the hub's HTTP library raises errors of its own, and it changes
            reasons.append(" ".join(str(error).split()))
    raise CompressError(
        f"{name}: no such file or folder here, and the hub gives no data set of that name ({reasons[0]}); "
        f"check the spelling and the network, or give a local path"
    )


def _table(name: str, rows: Any) -> Table:
    columns = {column: _named(rows[column], rows.features[column], f"{name}: {column}") for column in rows.column_names}
    return Table(name, columns, range(1, len(rows) + 1), "row")


def _named(values: Any, feature: Any, place: str) -> list[Any]:
    from datasets import ClassLabel

    class_label = getattr(feature, "feature", feature)
    return (
        named_classes(list(values), class_label.names, place) if isinstance(class_label, ClassLabel) else list(values)
    )
