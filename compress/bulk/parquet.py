"""Parquet files, read some rows at a time, and copies of them with more columns."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import Any

from compress.bulk.lines import ROWS_AT_ONCE, refuse_clash
from compress.data.tables import Table, refuse_duplicates
from compress.errors import CompressError
from compress.machine import is_installed

_GROUP_BYTES = 2**25  # the size in memory of a row group in the copy


class Parquet:
    """A Parquet file, read from its beginning each time.

    Attributes:
        path: the file.
        names: the names of its columns.
    """

    def __init__(self, path: Path, added: Sequence[str]) -> None:
        if not is_installed("pyarrow"):
            raise CompressError(f"{path}: Parquet files need the package pyarrow; 'pip install pyarrow'")
        self.path = path
        with self._open() as file:
            self._schema = file.schema_arrow
        self.names = tuple(self._schema.names)
        refuse_duplicates(str(path), self.names)
        refuse_clash(str(path), self.names, added)

    def tables(self, columns: Sequence[str]) -> Iterator[Table]:
        """These columns as tables of up to 1,024 rows."""
        done = 0
        for batch in self._batches(list(columns)):
            cells = {column: self._values(batch.column(column), column) for column in columns}
            yield Table(str(self.path), cells, range(done + 1, done + batch.num_rows + 1), "row")
            done += batch.num_rows

    def copy(self, out: Path, names: Sequence[str], answers: Iterable[Sequence[Any]]) -> None:
        """Write the file to ``out`` with an answer in each row, in new columns of these ``names``."""
        import pyarrow
        import pyarrow.parquet

        remaining = iter(answers)
        first = next(remaining)
        remaining = chain([first], remaining)
        added = [pyarrow.field(name, _type_of(value)) for name, value in zip(names, first, strict=True)]
        schema = reduce(pyarrow.Schema.append, added, self._schema)
        with out.open("wb") as sink, pyarrow.parquet.ParquetWriter(sink, schema) as writer:
            for rows in _groups(self._batches()):
                columns = zip(*islice(remaining, rows.num_rows), strict=True)
                more = [pyarrow.array(cells, field.type) for field, cells in zip(added, columns, strict=True)]
                writer.write_table(pyarrow.Table.from_arrays([*rows.columns, *more], schema=schema))

    def _batches(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Record batches of these columns, or of all; an error of the caller, as in a writer, is not caught here."""
        with self._open() as file:
            yield from file.iter_batches(ROWS_AT_ONCE, columns=columns)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                yield file
        except (pyarrow.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:  # an error of the system, such as a failing disk
                raise
            reason = " ".join(str(error).split())
            raise CompressError(f"{self.path}: not a whole Parquet file ({reason}); write it again") from None

    def _values(self, column: Any, name: str) -> list[Any]:
        try:
            values: list[Any] = column.to_pylist()
        except (ValueError, OverflowError) as error:
            raise CompressError(f"{self.path}: column {name} cannot be read ({error}); write it again") from None
        return values


def _type_of(value: Any) -> Any:
    import pyarrow

    types = {str: pyarrow.string(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    return types.get(type(value), pyarrow.list_(pyarrow.string()))


def _groups(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of about the size of a row group, from smaller record batches."""
    import pyarrow

    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(each.nbytes for each in held) >= _GROUP_BYTES:
            yield pyarrow.Table.from_batches(held)
            held = []
    if held:
        yield pyarrow.Table.from_batches(held)
