"""Answers every row of a file, in a copy of the file: the work of ``compress predict --data``.

The file is read three times: to refuse a bad row before any work, to answer, and to write the copy. Until the copy is
complete, the answers are in a journal beside it, ``.NAME.answers``, from which a run goes on after a kill.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from compress.bulk.delimited import Delimited
from compress.bulk.journal import Journal, open_journal
from compress.bulk.lines import ROWS_AT_ONCE, JsonLines
from compress.bulk.parquet import Parquet
from compress.clock import Stopwatch
from compress.data.tables import columns_to_read, read_texts
from compress.durable import put_in_place, sync, write_errors_in_one_line
from compress.errors import CompressError
from compress.folder import Manifest, read_manifest
from compress.paths import local_path
from compress.progress import progress
from compress.runtime.classifier import Classifier
from compress.runtime.encoding import Text
from compress.runtime.predictor import NotFiniteError
from compress.task import is_multi_label, reads_pairs
from compress.version import __version__

_FORMATS = {".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".jsonl": "JSONL", ".ndjson": "JSONL", ".parquet": "Parquet"}


@dataclass(frozen=True)
class FilePrediction:
    """The result of :func:`predict_file`.

    Attributes:
        out: the file that was written.
        rows: the number of its rows.
        columns: the names of the added columns.
        seconds: how long this run took.
    """

    out: Path
    rows: int
    columns: tuple[str, ...]
    seconds: float


DataFile = Delimited | JsonLines | Parquet  # read any number of times, and copied with more columns


def predict_file(
    classifier: Classifier,
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    text: Sequence[str] = (),
    prefix: str = "",
    overwrite: bool = False,
) -> FilePrediction:
    """Copy ``data`` to ``out`` with the model's answer in each row, as if the texts had been given to it in memory.

    The order and all other columns are kept. After a kill or a full disk, the same call goes on where it stopped.

    Args:
        classifier: the classifier that :func:`compress.load` gives for ``model``.
        model: its folder, by which answers of an earlier run are known to be the same model's.
        data: a CSV, TSV, JSONL or Parquet file.
        out: a file of the same format, which appears only when it is whole.
        text: the column of the texts, or two columns for a model of pairs; default: as for training.
        prefix: put before the names of the new columns: ``label``, ``score``, for multi-label tasks
            ``labels``, and for a model that can abstain ``abstained``.
        overwrite: whether to replace an existing file ``out``.

    Raises:
        CompressError: a path, a row or a column is not what is needed, or the disk is full.
    """
    watch, data, out = Stopwatch(), local_path(data, "--data"), local_path(out, "--out")
    manifest = read_manifest(local_path(model))
    names = added_columns(manifest)
    columns = tuple(prefix + name for name in names)
    _check_paths(data, out, overwrite)
    file = _open(data, columns)
    text_columns = columns_to_read(str(file.path), file.names, text, pairs=reads_pairs(classifier.task))
    origin = _origin_of(classifier, manifest, data, (*text_columns, *columns))
    partial, kept = (out.with_name(f".{out.name}.{what}") for what in ("partial", "answers"))
    with write_errors_in_one_line(f"--out {out}", below=out.parent), open_journal(kept, origin, overwrite) as journal:
        _check_paths(data, out, overwrite)  # another process may have written it meanwhile
        try:
            with _unchanged(data, origin["data"]):
                _answer_rows(classifier, file, text_columns, names, journal)
                file.copy(partial, columns, journal.answers())
            sync(partial)
            put_in_place(partial, out)
        finally:
            partial.unlink(missing_ok=True)
        journal.remove()
    return FilePrediction(out, journal.done, columns, watch.seconds)


def added_columns(manifest: Manifest) -> tuple[str, ...]:
    """The attributes of a prediction that become columns; ``abstained`` only if the model can abstain."""
    if is_multi_label(manifest.task):
        return "label", "score", "labels"
    return ("label", "score", "abstained") if "abstain_below" in (manifest.decision or {}) else ("label", "score")


def _check_paths(data: Path, out: Path, overwrite: bool) -> None:
    kind = _FORMATS.get(data.suffix.lower())
    if kind is None:
        raise CompressError(f"{data}: predict reads {', '.join(_FORMATS)}; convert or unpack it")
    if _FORMATS.get(out.suffix.lower()) != kind:
        raise CompressError(f"--out {out}: the copy of {data} is {kind} too; give it a name that ends in {data.suffix}")
    if data.exists() and not data.is_file():
        raise CompressError(f"{data}: is no plain file, and is read more than once; write its rows to one")
    try:
        data.open("rb").close()
    except OSError as error:
        raise CompressError(f"{data}: {error.strerror}; give a file that can be read") from None
    if out.exists() and out.samefile(data):
        raise CompressError(f"--out {out}: is the data; predict never writes into its input, choose another")
    if not out.parent.is_dir():
        raise CompressError(f"--out {out}: there is no folder {out.parent}; make it, or choose another")
    if out.exists() and not (overwrite and out.is_file()):
        raise CompressError(f"--out {out}: exists; choose another, or add --overwrite to replace a file")


def _open(data: Path, added: Sequence[str]) -> DataFile:
    kind = _FORMATS[data.suffix.lower()]
    if kind == "Parquet":
        return Parquet(data, added)
    return JsonLines(data, added) if kind == "JSONL" else Delimited(data, added, "," if kind == "CSV" else "\t")


def _origin_of(classifier: Classifier, manifest: Manifest, data: Path, columns: Sequence[str]) -> dict[str, Any]:
    """All that the answers depend on; a run goes on only from answers with the same origin."""
    return {
        "version": __version__,
        "model": manifest.digest,
        "graph": classifier.precision,
        "data": _stamp(data),
        "columns": list(columns),
    }


def _stamp(data: Path) -> list[int]:
    """The file's size and time of the last change; empty if the file is gone."""
    with suppress(OSError):
        status = data.stat()
        return [status.st_size, status.st_mtime_ns]
    return []


@contextmanager
def _unchanged(data: Path, stamp: list[int]) -> Iterator[None]:
    """Raise CompressError if the file was changed while the body read it, also if the body failed."""
    try:
        yield
    finally:
        if _stamp(data) != stamp:
            raise CompressError(f"{data}: was changed while it was read; run the command again when nothing writes it")


def _texts(file: DataFile, columns: Sequence[str]) -> Iterator[Text]:
    """Every text or pair; a missing value or one that is no text is refused with its row."""
    return chain.from_iterable(read_texts(table, columns) for table in file.tables(columns))


def _place(file: DataFile, columns: Sequence[str], row: int) -> str:
    """The place of a row in the file, as other error messages name it."""
    tables = file.tables(columns)
    return next(islice((table.place(at) for table in tables for at in range(len(table.numbers))), row, None))


def _answer_rows(
    classifier: Classifier, file: DataFile, columns: Sequence[str], names: Sequence[str], journal: Journal
) -> None:
    """Answer every row that has no answer in the journal yet."""
    if journal.rows is None:
        rows = sum(1 for _ in _texts(file, columns))
        if not rows:
            raise CompressError(f"{file.path}: there are no rows; each row needs a text")
        journal.begin(rows)
    begun = journal.done
    remaining = islice(_texts(file, columns), begun, journal.rows)
    try:
        with progress("predict", total=journal.rows or 0, done=journal.done) as advance:
            predictions = classifier.stream(remaining)
            while answers := [[getattr(each, name) for name in names] for each in islice(predictions, ROWS_AT_ONCE)]:
                journal.append(answers)
                advance(len(answers))
    except NotFiniteError as error:
        row = begun + error.row
        raise NotFiniteError.of_text(_place(file, columns, row), row) from None
    except KeyboardInterrupt:
        kept = f"{journal.done:,} of {journal.rows:,} answers are kept; run the same command again to go on"
        raise KeyboardInterrupt(kept) from None
