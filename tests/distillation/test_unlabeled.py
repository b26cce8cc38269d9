"""Unlabelled texts from files of every kind, and what is said of files that are none."""

import json
import os
import subprocess
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from compress.distillation.texts import read_unlabeled
from compress.errors import CompressError
from compress.runtime.encoding import Text

TEXTS = ["good film", "bad", "na\u00efve \u2028 \u4e2d", "null"]
PAIRS = [("a", "b c"), ("d \u2028", "")]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_columns(path: Path, columns: dict[str, list[str]]) -> Path:
    """JSONL or Parquet."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def texts(path: Path, named: Sequence[str] = (), *, pairs: bool = False) -> list[Text]:
    return list(read_unlabeled(str(path), named, pairs))


def refusal(path: Path, named: Sequence[str] = (), *, pairs: bool = False) -> str:
    with pytest.raises(CompressError) as caught:
        texts(path, named, pairs=pairs)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.parquet", "a.PARQUET", "a.JSONL"])
def test_columns_are_recognised_or_named(tmp_path: Path, name: str) -> None:
    path = write_columns(tmp_path / name.lower(), {"id": ["1"] * 4, "Sentence": TEXTS, "other": TEXTS[::-1]})
    path = path.rename(tmp_path / name)
    assert texts(path) == TEXTS
    assert texts(path, ["other"]) == TEXTS[::-1]
    assert (
        refusal(path, ["nothing"])
        == f'{name}: no column "nothing"; give --unlabeled-text one of "id", "Sentence", "other"'
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_pairs_are_two_columns(tmp_path: Path, name: str) -> None:
    columns = {"premise": [first for first, _ in PAIRS], "hypothesis": [second for _, second in PAIRS]}
    path = write_columns(tmp_path / name, columns)
    assert texts(path, pairs=True) == PAIRS
    assert texts(path, ["hypothesis", "premise"], pairs=True) == [(second, first) for first, second in PAIRS]
    assert texts(path, ["premise"]) == [first for first, _ in PAIRS]
    assert "premise and hypothesis would be read, but this model reads single texts" in refusal(path)
    assert "reads pairs of texts, two columns" in refusal(path, ["premise"], pairs=True)


@pytest.mark.parametrize("name", ["a.txt", "corpus", "wiki.en"])
def test_lines_are_texts_as_they_stand(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\ufeff" + "\r\n".join([*TEXTS, "", "  ", '"quoted, {" ', "a\tb"]))
    assert texts(path) == [*TEXTS, '"quoted, {" ', "a\tb"]


def test_a_tab_is_between_the_two_texts_of_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.txt", "a\tb\n\t\n\nc d\te\tf\n")
    assert texts(path, pairs=True) == [("a", "b"), ("c d", "e\tf")]
    path = write(tmp_path / "pairs.txt", "a\tb\n\nc d\n")
    assert refusal(path, pairs=True).startswith("pairs.txt, line 3: this model reads pairs")


def test_empty_texts_and_lines_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": ""}\n\n{"text": "x"}\n   \n{"text": " "}\n{"text": "y"}')
    assert texts(path) == ["x", "y"]
    path = write_columns(tmp_path / "a.parquet", {"text": ["", "x"], "text_pair": ["", ""]})
    assert texts(path, pairs=True) == [("x", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x"}\n\n{"text": "y"\n', "a.jsonl, line 3: not JSON"),
        ('{"text": "x"}\n["y"]\n', "a.jsonl, line 2: expected an object"),
        ('{"text": "x"}\n{"label": "y"}\n', "a.jsonl, line 2: the text is missing"),
        ('{"text": "x"}\n{"text": 3}\n', "a.jsonl, line 2: the text is 3, which is not a string"),
        ('{"text": "\\ud800"}\n', "a.jsonl, line 1: half of a surrogate pair"),
        (b'{"text": "x"}\n{"text": "\xe9"}\n', "a.jsonl, line 2: not UTF-8 (byte 0xe9)"),
        ('{"body": "x"}\n', "a.jsonl: no column has a usual name for the text"),
        ("\n\n", "--unlabeled a.jsonl: there are no texts"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert refusal(write(tmp_path / "a.jsonl", content)).startswith(message)


def test_what_comes_before_a_broken_line_is_read_first(tmp_path: Path) -> None:
    found = read_unlabeled(str(write(tmp_path / "a.jsonl", '{"text": "x"}\n{')), (), pairs=False)
    assert next(found) == "x"


def test_files_that_cannot_be_read_are_refused_at_once(tmp_path: Path) -> None:
    for name, message in (
        ("none.jsonl", "No such file or directory"),
        ("none.parquet", "No such file or directory"),
        ("folder", "Is a directory"),
        ("folder.parquet", "Is a directory"),
        ("table.csv", ".csv files are not read"),
        ("table.tsv", ".tsv files are not read"),
        ("table.tab", ".tab files are not read"),
        ("more.jsonl.gz", ".gz files are not read; give JSONL, Parquet, or a plain file"),
        ("more.jsonl.zst", ".zst files are not read"),
        ("more.xlsx", ".xlsx files are not read"),
        ("more.arrow", ".arrow files are not read"),
    ):
        for folder in ("folder", "folder.parquet"):
            (tmp_path / folder).mkdir(exist_ok=True)
        with pytest.raises(CompressError) as caught:  # before any text is asked for
            read_unlabeled(str(tmp_path / name), (), pairs=False)
        assert message in str(caught.value)
        assert str(caught.value).endswith("give JSONL, Parquet, or a plain file of one text a line")


def test_parquet_errors_are_one_line(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "a.parquet", "PAR1 no")).startswith("a.parquet: not a whole Parquet file")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None]}), tmp_path / "b.parquet")
    assert refusal(tmp_path / "b.parquet").startswith("b.parquet, row 2: the text is missing")
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "c.parquet")
    assert "there are no texts" in refusal(tmp_path / "c.parquet")


def test_a_file_is_streamed(tmp_path: Path) -> None:
    """Whoever writes half a MB into a pipe is not done while only the first lines have been asked for."""
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    with subprocess.Popen(["sh", "-c", f"yes text | head -c 500000 > '{path}'"]) as writer:
        lines = read_unlabeled(str(path), (), pairs=False)
        assert list(islice(lines, 5_000)) == ["text"] * 5_000
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.5)
        assert sum(1 for _ in lines) == 100_000 - 5_000
    assert writer.returncode == 0
