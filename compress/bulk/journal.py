"""The answers of a run so far, on disk: after a kill they are still there and are not computed again."""

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
except ImportError:  # on Windows nothing keeps two processes from writing one journal
    fcntl = None  # type: ignore[assignment]


class Journal:
    """A file of JSON lines: first what the answers depend on, then one answer for each row, in order.

    Attributes:
        rows: how many answers there will be; None until :meth:`begin`.
        done: how many answers there are.
    """

    rows: int | None
    done: int

    def __init__(self, file: IO[bytes], origin: Mapping[str, Any], overwrite: bool) -> None:
        self._file = file
        self._overwrite = overwrite
        self._origin = dict(origin)
        self.rows = None
        self.done = 0
        self._read()

    def begin(self, rows: int) -> None:
        """Write the first line, with the number of rows."""
        self.rows = rows
        self._write([{**self._origin, "rows": rows}])

    def append(self, answers: Sequence[Any]) -> None:
        """Add answers, and return once they are on disk.

        Raises:
            OSError: the disk is full or fails.
        """
        self._write(answers)
        self.done += len(answers)

    def answers(self) -> Iterator[Any]:
        """All answers, in order."""
        self._file.seek(0)
        return (json.loads(line) for line in islice(self._file, 1, None))

    def remove(self) -> None:
        """Delete the file, while no other process can open it."""
        if fcntl is None:  # Windows deletes no open file
            self._file.close()
        Path(self._file.name).unlink()

    def _write(self, entries: Sequence[Any]) -> None:
        lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n" for entry in entries]
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self) -> None:
        """Keep the answers of an earlier run up to the first line that was not written whole, or start anew."""
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
        """The number of rows in the first line; None if the line is missing, or may be replaced.

        Raises:
            CompressError: the answers are for other data, another model or other settings.
        """
        rows = header.pop("rows", None) if isinstance(header, dict) else None
        if header == self._origin and isinstance(rows, int):
            return rows
        if header is not None and not self._overwrite:
            raise CompressError(
                f"{self._file.name}: holds answers of an earlier run with other data, another model or other columns; "
                "add --overwrite to begin anew, or choose another --out"
            )
        return None


@contextmanager
def open_journal(path: Path, origin: Mapping[str, Any], overwrite: bool) -> Iterator[Journal]:
    """The journal in a file, which no other process may open meanwhile; ``origin``: what its answers depend on.

    Raises:
        CompressError: another process has it open, or it has another origin and may not be overwritten.
    """
    with path.open("a+b") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CompressError(f"{path}: another process writes it; wait for it, or choose another --out") from None
        except OSError as error:  # a file system without locks
            say(f"predict: {path} cannot be locked ({error.strerror}); let no two processes write one --out at once")
        journal = Journal(file, origin, overwrite)
        try:
            yield journal
        finally:
            if journal.rows is None:  # refused before any work
                journal.remove()


def _entry(line: bytes) -> Any:
    """The content of a line; None if it was not written whole."""
    try:
        return parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
