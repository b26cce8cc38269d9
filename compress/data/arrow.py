"""Parquet and Arrow files, and the folders that ``datasets`` writes with ``save_to_disk``."""

import json
from pathlib import Path
from typing import Any

from compress.data.tables import Table, refuse_duplicates
from compress.errors import CompressError
from compress.progress import say_before_work


def read_parquet(path: Path, content: bytes, encoding: str | None) -> Table:  # noqa: ARG001 - as all readers
    """A table of a Parquet file; class numbers as the names that its metadata gives."""
    import pyarrow
    import pyarrow.parquet

    try:
        # From memory, so that the path is a plain file and its "key=value" folders do not become columns.
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise CompressError(f"{path}: not a Parquet file ({_reason(error)}); write it again") from None
    return _table(path, table)


def read_arrow(path: Path, content: bytes, encoding: str | None) -> Table:  # noqa: ARG001 - as all readers
    """A table of an Arrow file, in the stream or the file format."""
    return _table(path, _arrow_table(path, content))


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder is one split that ``save_to_disk`` of ``datasets`` wrote."""
    return (path / "state.json").is_file()


def read_saved_dataset(path: Path) -> Table:
    """The rows of a folder that ``save_to_disk`` of ``datasets`` wrote.

    Raises:
        CompressError: a file of it is missing or damaged.
    """
    import pyarrow

    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        files = [path / Path(part["filename"]).name for part in state["_data_files"]]
        parts = [_arrow_table(file, file.read_bytes()) for file in files]
        return _table(path, pyarrow.concat_tables(parts))
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise CompressError(f"{path}: not a whole folder of save_to_disk ({_reason(error)}); save it again") from None


def _arrow_table(path: Path, content: bytes) -> Any:
    import pyarrow

    open_table = pyarrow.ipc.open_file if content.startswith(b"ARROW1") else pyarrow.ipc.open_stream
    try:
        return open_table(pyarrow.BufferReader(content)).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise CompressError(f"{path}: not an Arrow file ({_reason(error)}); write it again") from None


def _table(path: Path, table: Any) -> Table:
    import pyarrow

    refuse_duplicates(str(path), table.column_names)
    features = _features(table.schema.metadata or {})
    columns = {}
    for name in table.column_names:
        try:
            columns[name] = table.column(name).to_pylist()
        except (pyarrow.ArrowException, ValueError, OverflowError) as error:  # a date of the year 9999, say
            say_before_work(f"{path}: column {name} cannot be read and is left out ({_reason(error)})")
            continue
        names = class_names(features.get(name))
        if names:
            columns[name] = named_classes(columns[name], names, f"{path}: column {name}")
    return Table(str(path), columns, range(1, table.num_rows + 1), "row")


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """What ``datasets`` notes about each column; nothing where another program wrote the file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names(feature: Any) -> list[str] | None:
    """The names of a column of class numbers or of lists of them, from ``datasets``' notes; None for other columns."""
    if isinstance(feature, list) and feature:  # a list, as older versions noted it
        feature = feature[0]
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else None


def named_classes(values: list[Any], names: list[str], place: str) -> list[Any]:
    """Class numbers as names, in lists too; -1 stands for a label that is withheld, and is None.

    Lists of one number for each class that hold only 0 and 1 are indicators, not class numbers.

    Raises:
        CompressError: a number has no name.
    """
    lists = [value for value in values if isinstance(value, list)]
    wide = lists and len(names) > 1 and all(len(value) == len(names) and set(value) <= {0, 1} for value in lists)
    if wide and (len(names) > 2 or any(len(set(value)) == 1 for value in lists)):
        return [value and [name for name, one in zip(names, value, strict=True) if one] for value in values]

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(one) for one in value]
        if value is None or value == -1:
            return None
        if not isinstance(value, int) or not 0 <= value < len(names):
            raise CompressError(f"{place} has the class {value!r}, but names for 0 to {len(names) - 1}; write it again")
        return names[value]

    return [name(value) for value in values]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
