"""Whatever bytes a file has, it is read or refused in one line."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.errors import CompressError

# A few of each; ``python -m tests.fuzz`` tries them by the hundred thousand.
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
ANY = st.characters(exclude_categories=["Cs"])  # as text() draws by itself, but for a look at all of Unicode first
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY, max_size=6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(ANY, max_size=3), inner), max_leaves=8
)
MARKS = [
    ",",
    ";",
    "\t",
    "|",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "[",
    "]",
    "{",
    "}",
    ":",
    "\0",
    "\ufeff",
    "\u2028",
    "sep=;\n",
]
WORDS = ["text", "label", "text,label\n", "0", "1", "0.5", "-1", "a b", "\u00e9", "\u4eba", "true", "null", " "]
PIECES = st.sampled_from([*MARKS, *WORDS])
MESSES = st.lists(PIECES, max_size=40).map("".join).map(str.encode) | st.binary(max_size=60)
ROW = st.fixed_dictionaries({"text": st.text(ANY, max_size=8) | VALUES, "label": VALUES})
ROWS = st.lists(ROW, min_size=1, max_size=12)


def read_or_refuse(path: Path, content: bytes, encoding: str | None = None) -> None:
    path.write_bytes(content)
    try:
        dataset = read_dataset(DataConfig(data=str(path), encoding=encoding))
    except CompressError as error:
        assert "\n" not in str(error)
    else:
        assert len(dataset.labels) >= 2
        assert not any(mark in label for label in dataset.labels for mark in "\t\r\n\u2028\u2029")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet", "arrow", "csv.gz", "xlsx", "csv.zst"])
@FUZZ
@given(content=MESSES)
def test_any_bytes(tmp_path: Path, suffix: str, content: bytes) -> None:
    read_or_refuse(tmp_path / f"a.{suffix}", content)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@FUZZ
@given(body=MESSES, encoding=st.sampled_from([None, "cp1252", "utf-16", "utf-7", "idna", "punycode", "rot13", "big5"]))
def test_any_rows_below_a_header(tmp_path: Path, suffix: str, body: bytes, encoding: str | None) -> None:
    read_or_refuse(tmp_path / f"a.{suffix}", b"text,label\nfine,x\nbad,y\n" + body, encoding)


@settings(FUZZ, max_examples=20)
@given(rows=ROWS)
def test_any_values_in_json(tmp_path: Path, rows: list[object]) -> None:
    read_or_refuse(tmp_path / "a.json", json.dumps(rows).encode())
    read_or_refuse(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)).encode())
