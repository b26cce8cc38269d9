"""More texts for a student to learn from: unlabeled ones, altered copies, and all of them tokenized once into files."""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from compress.bulk.lines import MARK, lines_in
from compress.bulk.parquet import Parquet
from compress.data.files import SUFFIXES
from compress.data.tables import check_text, columns_to_read
from compress.data.text_files import json_object
from compress.errors import CompressError
from compress.paths import local_path
from compress.runtime.encoding import Text, TextEncoder
from compress.training.batches import Encodings

Row = tuple[str, Sequence[Any]]
"""The place of a row in its file, for errors, and the values of its text columns."""

_FLAG = "--unlabeled-text"
_NOT_READ = SUFFIXES - {".jsonl", ".ndjson", ".parquet", ".txt", ".tab"}  # formats that only --data reads
_ALLOWED = "give JSONL, Parquet, or a plain file of one text a line"


def read_unlabeled(path: str, text_columns: Sequence[str], pairs: bool) -> Iterator[Text]:
    """The texts of a JSONL or Parquet file, or the lines of any other file, where a tab separates the texts of a pair.

    Empty lines, and rows whose texts are all empty, are left out. Without ``text_columns``, columns with a usual name
    are read.

    Raises:
        CompressError: the file cannot be opened or is no Parquet file; or, while it is read, it is malformed or has no
            texts.
    """
    file = local_path(path, "--unlabeled")
    suffix = file.suffix.lower()
    if suffix in _NOT_READ or (suffix == ".tab" and not pairs):  # in a file of pairs a tab separates the two texts
        raise CompressError(f"--unlabeled {path}: {suffix} files are not read; {_ALLOWED}")
    try:
        opened = file.open("rb")  # once: it may be a pipe
    except OSError as error:
        raise CompressError(f"--unlabeled {path}: {error.strerror}; {_ALLOWED}") from None
    if suffix == ".parquet":
        opened.close()
        return _texts(file, _parquet_rows(Parquet(file, ()), text_columns, pairs))
    if suffix in {".jsonl", ".ndjson"}:
        return _texts(file, _jsonl_rows(opened, text_columns, pairs))
    return _texts(file, _plain_rows(opened, pairs))


def _texts(file: Path, rows: Iterator[Row]) -> Iterator[Text]:
    any_text = False
    for place, values in rows:
        for value in values:
            check_text(value, place)
        texts = list(values)
        if any(text.strip() for text in texts):
            any_text = True
            yield _text_or_pair(texts)
    if not any_text:
        raise CompressError(f"--unlabeled {file}: there are no texts; {_ALLOWED}")


def _text_or_pair(texts: list[str]) -> Text:
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _plain_rows(file: BinaryIO, pairs: bool) -> Iterator[Row]:
    for number, line in _lines(file):
        place = f"{file.name}, line {number}"
        if not pairs:
            yield place, [line]
            continue
        first, tab, second = line.partition("\t")
        if not tab:
            raise CompressError(f"{place}: this model reads pairs, two texts with a tab between them, got {line!r:.60}")
        yield place, [first, second]


def _jsonl_rows(file: BinaryIO, named: Sequence[str], pairs: bool) -> Iterator[Row]:
    columns: Sequence[str] = ()
    for number, line in _lines(file):
        place = f"{file.name}, line {number}"
        row = json_object(line, place)
        columns = columns or columns_to_read(file.name, list(row), named, pairs=pairs, flag=_FLAG)
        yield place, [row.get(column) for column in columns]


def _parquet_rows(file: Parquet, named: Sequence[str], pairs: bool) -> Iterator[Row]:
    columns = columns_to_read(str(file.path), file.names, named, pairs=pairs, flag=_FLAG)
    for table in file.tables(columns):
        for number, values in enumerate(zip(*(table.columns[name] for name in columns), strict=True)):
            yield table.place(number), values


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, numbered from 1. Only line feeds end a line: U+2028 may be part of JSON's text."""
    with file:
        for number, whole in lines_in(file):
            line = (whole.removeprefix(MARK) if number == 1 else whole).rstrip("\r\n")
            if line.strip():
                yield number, line


# The values of the paper named below. Its third rule, another word of the same part of speech, needs a tagger.
_MASK_PROBABILITY = 0.1
_NGRAM_PROBABILITY = 0.25
_LONGEST_NGRAM = 5


def augmented(texts: Sequence[Text], copies: int, mask_token: str, seed: int) -> Iterator[Text]:
    """Altered copies of each text: some words are masked, and some copies keep only 1 to 5 words in a row.

    "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks" (Tang et al. 2019). In a pair one of
    the two texts is altered. A copy that equals the text or an earlier copy is left out. The copies depend on the text
    and ``seed`` alone, so that the teacher cache has them for other data sets too.
    """
    for text in texts:
        sides = (text,) if isinstance(text, str) else text
        source = tuple(tuple(side.split()) for side in sides)
        rng = random.Random(repr((seed, sides)))
        seen = {source}
        for _ in range(copies):
            altered = rng.randrange(len(source))
            copy = (*source[:altered], _alter(source[altered], mask_token, rng), *source[altered + 1 :])
            if copy not in seen:
                seen.add(copy)
                yield _text_or_pair([" ".join(words) for words in copy])


def _alter(words: tuple[str, ...], mask_token: str, rng: random.Random) -> tuple[str, ...]:
    masked = tuple(mask_token if rng.random() < _MASK_PROBABILITY else word for word in words)
    if rng.random() >= _NGRAM_PROBABILITY:
        return masked
    length = rng.randint(1, _LONGEST_NGRAM)
    start = rng.randint(0, max(0, len(masked) - length))
    return masked[start : start + length]


_TEXTS_AT_ONCE = 2_000


def build_corpus(labelled: Encodings, more: Iterable[Text], encoder: TextEncoder, folder: Path) -> Encodings:
    """The encodings ``labelled`` and those of the texts ``more`` after them, mapped from files in ``folder``.

    Only a few of ``more`` are in memory at a time. The files must stay as long as the encodings are read. Where there
    are no more texts, no files are written.
    """
    texts = iter(more)
    first = next(texts, None)
    if first is None:
        return labelled
    dtypes = {"ids": np.int32, "type_ids": np.uint8, "offsets": np.int64}
    paths = {name: folder / f"{name}.bin" for name in dtypes}
    folder.mkdir(parents=True, exist_ok=True)
    _write(chain([labelled], encoded(chain([first], texts), encoder)), paths)
    ids, type_ids, offsets = (np.asarray(np.memmap(paths[name], dtype, mode="r")) for name, dtype in dtypes.items())
    return Encodings(ids, type_ids, offsets, encoder.pad_id)


def _write(parts: Iterable[Encodings], paths: dict[str, Path]) -> None:
    end = 0
    with paths["ids"].open("wb") as ids, paths["type_ids"].open("wb") as type_ids, paths["offsets"].open("wb") as ends:
        ends.write(np.int64(0).tobytes())
        for part in parts:
            ids.write(part.ids.tobytes())
            type_ids.write(part.type_ids.tobytes())
            ends.write((part.offsets[1:] + end).tobytes())
            end += len(part.ids)


def encoded(texts: Iterable[Text], encoder: TextEncoder) -> Iterator[Encodings]:
    """The encodings of any number of texts, each window as a text of its own, in groups of 2,000 texts."""
    source = iter(texts)
    while group := list(islice(source, _TEXTS_AT_ONCE)):
        yield Encodings.pack_rows(encoder(group))
