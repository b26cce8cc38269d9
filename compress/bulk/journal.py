"""The answers of a run so far, on disk: what is in it survives a kill and is not computed again."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from compress.durable import parse_json
from compress.errors import CompressError
from compress.progress import say

try:
    import fcntl
except ImportError:  # Windows: there nothing tells two processes apart
    fcntl = None  # type: ignore[assignment]


class Journal:
    """A line that says of what the answers are, then an answer a line, as JSON, in the order of the rows.

    Attributes:
        rows: how many answers there will be; None until :meth:`begin`.
        done: how many there are.
    """

    rows: int | None
    done: int

    def __init__(self, file: IO[bytes], made_of: Mapping[str, Any], overwrite: bool) -> None:
        self._file = file
        self._overwrite = overwrite
        self._made_of = dict(made_of)
        self.rows = None
        self.done = 0
        self._read()

    def begin(self, rows: int) -> None:
        """Note how many rows there are, before the first answer."""
        self.rows = rows
        self._write([{**self._made_of, "rows": rows}])

    def append(self, answers: Sequence[Any]) -> None:
        """Return when the disk holds these answers.

        Raises:
            OSError: the disk is full or fails.
        """
        self._write(answers)
        self.done += len(answers)

    def answers(self) -> Iterator[Any]:
        """All of them, in order."""
        self._file.seek(0)
        return (json.loads(line) for line in islice(self._file, 1, None))

    def remove(self) -> None:
        """Take the file away, while no other process can open it."""
        if fcntl is None:  # Windows removes no file that is open
            self._file.close()
        Path(self._file.name).unlink()

    def _write(self, entries: Sequence[Any]) -> None:
        lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n" for entry in entries]
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self) -> None:
        """Take up what an earlier run left, up to the first line that was not written whole; or begin anew."""
        whole = 0
        self._file.seek(0)
        for line in self._file:
            entry = _entry(line)
            if self.rows is None:
                self.rows = self._rows_of(entry)
            elif entry is not None:
                self.done += 1
            if self.rows is None or entry is None:
                break
            whole += len(line)
        self._file.truncate(whole)

    def _rows_of(self, header: Any) -> int | None:
        """The rows that a header speaks of; None if there is none, or it may be replaced.

        Raises:
            CompressError: it is of other data, another model or other settings.
        """
        rows = header.pop("rows", None) if isinstance(header, dict) else None
        if header == self._made_of and isinstance(rows, int):
            return rows
        if header is not None and not self._overwrite:
            raise CompressError(
                f"{self._file.name}: holds answers of an earlier run with other data, another model or other columns; "
                "add --overwrite to begin anew, or choose another --out"
            )
        return None


@contextmanager
def open_journal(path: Path, made_of: Mapping[str, Any], overwrite: bool) -> Iterator[Journal]:
    """The journal in a file, which no other process may open meanwhile.

    Raises:
        CompressError: another process has it open, or it is of something else and may not be overwritten.
    """
    with path.open("a+b") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CompressError(f"{path}: another process writes it; wait for it, or choose another --out") from None
        except OSError as error:  # a file system without locks
            say(f"predict: {path} cannot be locked ({error.strerror}); let no two processes write one --out at once")
        journal = Journal(file, made_of, overwrite)
        try:
            yield journal
        finally:
            if journal.rows is None:  # refused before any work
                journal.remove()


def _entry(line: bytes) -> Any:
    """What a line says; None if it was not written whole."""
    try:
        return parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
