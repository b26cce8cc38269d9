"""Every format gives back what was written, and says where it cannot."""

import csv
import io
import json
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress.data.files import read_table
from compress.errors import CompressError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8)
EVERY_EXAMPLE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def columns(path: Path) -> list[tuple[str, str]]:
    table = read_table(path)
    return list(zip(table.columns["text"], table.columns["label"], strict=True))


@EVERY_EXAMPLE
@given(rows=ROWS, mark=st.sampled_from(["", "\ufeff"]))
def test_csv_gives_back_any_text(tmp_path: Path, rows: list[tuple[str, str]], mark: str) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    path = tmp_path / "rows.csv"
    path.write_bytes((mark + buffer.getvalue()).encode())
    assert columns(path) == rows


@EVERY_EXAMPLE
@given(rows=ROWS, ascii_only=st.booleans())
def test_jsonl_gives_back_any_text(tmp_path: Path, rows: list[tuple[str, str]], ascii_only: bool) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=ascii_only) for text, label in rows]
    path.write_bytes("\n".join(lines).encode())
    assert columns(path) == rows


@EVERY_EXAMPLE
@given(rows=ROWS)
def test_parquet_gives_back_any_text(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "rows.parquet"
    texts, labels = zip(*rows, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    assert columns(path) == rows


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", ""])
def test_words_that_look_missing_are_texts(tmp_path: Path, word: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'text,label\n"{word}",None\n')
    assert columns(path) == [(word, "None")]


def test_a_csv_field_can_be_longer_than_the_standard_library_s_default(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "x" * 200_000 + ",pos\n")
    assert len(read_table(path).columns["text"][0]) == 200_000


def test_a_row_is_placed_by_the_line_it_begins_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"two\nlines",pos\n\nlast,neg\n')
    table = read_table(path)
    assert [table.place(row) for row in range(2)] == [f"{path}, line 2", f"{path}, line 5"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ('"so it goes", "pos"\n"no, really", "neg"\n', [("so it goes", "pos"), ("no, really", "neg")]),
        ('fine, "pos"\n\nbad, neg\n', [("fine", "pos"), ("bad", "neg")]),
        ('fine, "a, ""b"""\n', [("fine", 'a, "b"')]),
        ('fine, "so" they say\n', [("fine", ' "so" they say')]),
        ('"he said, ""no"" twice", pos\n', [('he said, "no" twice', " pos")]),
    ],
)
def test_quotes_behind_a_blank_are_a_writer_s_where_all_can_be(
    tmp_path: Path, rows: str, expected: list[tuple[str, str]]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\n{rows}", encoding="utf-8")
    assert columns(path) == expected
    path.write_text(f"text;label\n{rows.replace(',', ';')}", encoding="utf-8")
    assert columns(path) == [(one.replace(",", ";"), other.replace(",", ";")) for one, other in expected]


def test_a_sheet_is_read_whole_whatever_its_dimensions_say(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book, path, short = openpyxl.Workbook(), tmp_path / "rows.xlsx", tmp_path / "short.xlsx"
    rows = [("so it goes", "pos"), ("no", "neg"), ("well", "pos")]
    for row in [("text", "label"), *rows]:
        book.active.append(row)
    book.save(path)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(short, "w") as written:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith("sheet1.xml"):
                assert b'<dimension ref="A1:B4"' in content
                content = content.replace(b'<dimension ref="A1:B4"', b'<dimension ref="A1:A2"')
            written.writestr(name, content)
    assert columns(short) == columns(path) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.csv", b"\xef\xbb\xbf\n", "a.csv: the file is empty"),
        ("a.csv", b"text,label\n", "a.csv: there are no rows"),
        ("a.jsonl", b"\n", "a.jsonl: there are no rows"),
        (
            "a.csv",
            b"text,label\nfine,pos\nno, really,neg\n",
            "a.csv, line 3: expected 2 columns (text, label), found 3;",
        ),
        ("a.csv", b"text,label\nonly\n", "a.csv, line 2: expected 2 columns (text, label), found 1;"),
        ("a.csv", b'text,label\nfine,pos\n"never closed,neg\n\n', "a.csv, line 3: unexpected end of data;"),
        ("a.csv", b'text,label\n"so" it goes,neg\n', "a.csv, line 2: ',' expected after '\"';"),
        ("a.tsv", b"text\tlabel\none\ttwo\tpos\n", "a.tsv, line 2: expected 2 columns (text, label), found 3;"),
        ("a.csv", b"text,label,text\na,b,c\n", 'a.csv, line 1: column "text" appears twice;'),
        (
            "a.csv",
            "text,label\nok,pos\ncafé,neg\n".encode("latin-1"),
            "a.csv, line 3: not UTF-8 (byte 0xe9 at offset 21);",
        ),
        ("a.csv", b"\n\r\ntext,label,text\na,b,c\n", 'a.csv, line 3: column "text" appears twice;'),
        ("a.csv", b"PAR1\x15\x04", "a.csv: is a Parquet file;"),
        ("a.csv", b"<HTML>", "a.csv: is a web page,"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "a.jsonl, line 2: not JSON ("),
        ("a.jsonl", b'{"text": "a"}\n\n["a"]\n', "a.jsonl, line 3: expected an object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: not JSON ("),
        ("a.parquet", b"text,label\n", "a.parquet: not a Parquet file ("),
        (
            "a.xls",
            b"",
            "a.xls: files of this kind are not read; give one that ends in .csv, .tsv, .tab, .txt, .jsonl, .ndjson, "
            ".json, .parquet, .arrow, .xlsx, also with .gz or .zst behind",
        ),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CompressError) as caught:
        read_table(path)
    found = str(caught.value).replace(f"{tmp_path}/", "")
    assert found.startswith(message)
    assert "\n" not in found


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for path in (tmp_path / "absent.csv", tmp_path / "loop.csv", tmp_path):
        with pytest.raises(CompressError, match=str(path)):
            read_table(path)


@pytest.mark.parametrize("name", ["par1", "PAR1", "PK", "pk"])
def test_a_column_may_be_called_as_other_files_begin(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"{name},text,label\n1,so it goes,pos\n", encoding="utf-8")
    assert list(read_table(tmp_path / "a.csv").columns) == [name, "text", "label"]
