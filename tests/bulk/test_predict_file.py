"""A file answered in a copy: every byte that was there is kept, the answers are the model's, nothing is done twice."""

import csv
import io
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compress
from compress.bulk.delimited import Delimited
from compress.bulk.lines import JsonLines
from compress.bulk.predict import predict_file
from compress.cli.main import main
from compress.data.files import read_table
from compress.errors import CompressError
from compress.runtime.classifier import Classifier, Prediction
from compress.runtime.encoding import Text
from tests.processes import start_module, wait_until
from tests.test_app import forked_cli

TEXTS = ["a good film", 'a "dull" mess', "line\nbreak, and comma", "", "Żółć 漢字 🎬", "tab\there", "fun " * 300]
NAMES = ("label", "score")


@pytest.fixture(scope="module")
def classifier(tiny_int8: Path) -> Iterator[Classifier]:
    with compress.load(tiny_int8, threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


def write_csv(path: Path, texts: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("id", "text", "note"), *((f"{n:03}", text, 'a ""' * 30) for n, text in enumerate(texts))]
        )
    return path


def write_jsonl(path: Path, texts: Sequence[str]) -> Path:
    rows = (
        f'{{"n": {n}.10, "text":{json.dumps(text)}, "note": "{"é" * 100}", "big": 12345678901234567890 }}\r\n'
        for n, text in enumerate(texts)
    )
    path.write_text("".join(rows), encoding="utf-8", newline="")
    return path


def write_parquet(path: Path, texts: Sequence[str]) -> Path:
    columns = {
        "text": list(texts),
        "when": pyarrow.array(range(len(texts)), pyarrow.timestamp("us")),
        "l": [[os.urandom(99)] for _ in texts],
    }
    table = pyarrow.table(columns).replace_schema_metadata({"made by": "a test"})
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    return path


def broken_parquet() -> bytes:
    """A file whose end, which says where all is, is whole, and whose first page is not."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), sink)
    content = sink.getvalue()
    return content[:4] + b"\xff" * 40 + content[44:]


WRITERS: dict[str, Callable[[Path, Sequence[str]], Path]] = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a copy, read by others' readers."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return rows
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def answers(path: Path) -> list[tuple[str, float]]:
    return [(row["label"], float(row["score"])) for row in read(path)]


def expected(classifier: Classifier, texts: Sequence[Text]) -> list[tuple[str, float]]:
    return [(one.label, one.score) for one in classifier(texts)]


@pytest.mark.parametrize("ending", WRITERS)
def test_each_row_has_the_answer_to_its_text(
    ending: str, classifier: Classifier, tiny_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = WRITERS[ending](tmp_path / f"d{ending}", TEXTS), tmp_path / f"out{ending}"
    command = ["predict", tiny_int8, "--data", data, "--out", out, "--threads", "1", "--json"]
    assert main(list(map(str, command))) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["columns"], said["out"]) == (len(TEXTS), list(NAMES), str(out))
    assert answers(out) == expected(classifier, TEXTS)
    rows = [{name: value for name, value in row.items() if name not in NAMES} for row in read(out)]
    assert rows == read(data)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([data.name, out.name])


def test_a_parquet_copy_keeps_types_and_metadata(classifier: Classifier, tiny_int8: Path, tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "d.parquet", TEXTS)
    predict_file(classifier, tiny_int8, data, tmp_path / "o.parquet")
    before, after = pyarrow.parquet.read_table(data), pyarrow.parquet.read_table(tmp_path / "o.parquet")
    assert after.drop_columns(list(NAMES)).equals(before, check_metadata=True)
    assert after.schema.field("score").type == pyarrow.float64()


def test_rows_without_extras_and_parquet_names_what_it_needs(tiny_int8: Path, tmp_path: Path) -> None:
    commands = []
    for ending, write in WRITERS.items():
        data, out = write(tmp_path / f"d{ending}", TEXTS), tmp_path / f"o{ending}"
        commands.append(["predict", str(tiny_int8), "--data", str(data), "--out", str(out), "--threads", "1"])
    *rows, parquet = forked_cli(commands, "compress.runtime.session")
    assert [(status, told.count("\n")) for status, _, told in (*rows, parquet)] == [(0, 1), (0, 1), (2, 1)]
    assert "pip install pyarrow" in parquet[2]


# Text files are kept byte for byte -----------------------------------------------------------------------------------

CELL = st.text(st.sampled_from(list('ab",;\t\n\r é"')), max_size=6)
ENDS = st.sampled_from(["\n", "\r\n"])


def line(values: Iterable[Any], separator: str, quoting: Any) -> str:
    found = io.StringIO()
    csv.writer(found, delimiter=separator, quoting=quoting).writerow(values)
    return found.getvalue().removesuffix("\r\n")


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=4),
    separator=st.sampled_from(",;|"),
    end=ENDS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    before=st.sampled_from(["", "\ufeff"]),
)
def test_a_csv_record_is_kept_and_its_answer_behind_it(
    rows: list[tuple[str, str, str]], separator: str, end: str, quoting: Any, before: str, folder: Path
) -> None:
    data, out = folder / "in.csv", folder / "out.csv"
    records = [line(row[:2], separator, quoting) for row in (("text", "b", ""), *rows)]
    data.write_bytes((before + end.join([*records, ""])).encode())
    Delimited(data, NAMES, ",").copy(out, NAMES, [[label, 0.5] for _, _, label in rows])
    answers = [line(cells, separator, quoting) for cells in (NAMES, *([label, "0.5"] for _, _, label in rows))]
    both = [record + separator + answer + end for record, answer in zip(records, answers, strict=True)]
    assert out.read_bytes() == (before + "".join(both)).encode()


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.dictionaries(CELL, st.integers() | st.lists(CELL), max_size=3), min_size=1, max_size=4))
def test_a_json_line_is_kept_and_its_answer_behind_it(rows: list[dict[str, Any]], folder: Path) -> None:
    data, out = folder / "in.jsonl", folder / "out.jsonl"
    written = [json.dumps({"text": "t", **row}, ensure_ascii=False) for row in rows]
    data.write_text("\r\n \r\n".join(written), encoding="utf-8", newline="")
    JsonLines(data, NAMES).copy(out, NAMES, [["é", 0.5]] * len(rows))
    found = out.read_text(encoding="utf-8").split("\n")
    for before, after in zip(written, found, strict=True):
        assert after.rstrip("\r") == before[:-1] + ', "label": "é", "score": 0.5}'


@pytest.mark.parametrize(
    ("content", "copy"),
    [
        ('text\tb\nsay "hi"\tx\n', 'text\tb\tlabel\tscore\nsay "hi"\tx\tgood film\t0.5\n'),  # quotes are text
        ('text\tb\n"a\tb ""c"""\tx\n', 'text\tb\tlabel\tscore\n"a\tb ""c"""\tx\t"good\tfilm"\t0.5\n'),
        ("sep=;\ntext;b\na;1\n", "sep=;\ntext;b;label;score\na;1;good\tfilm;0.5\n"),
        ('"text","b"\n"a","","",""\n', '"text","b","label","score"\n"a","","good\tfilm","0.5"\n'),
        ("text,b\n\na,1,,\n", "text,b,label,score\na,1,good\tfilm,0.5\n"),  # a spreadsheet's empty columns
        ("text,b\na,1", "text,b,label,score\na,1,good\tfilm,0.5"),
    ],
)
def test_other_kinds_of_text_files(content: str, copy: str, tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes(content.encode())
    Delimited(tmp_path / "d.txt", NAMES, "\t" if "\t" in content else ",").copy(
        tmp_path / "o.txt", NAMES, [["good\tfilm", 0.5]]
    )
    assert (tmp_path / "o.txt").read_bytes().decode() == copy


def test_quotes_behind_a_blank_are_read_as_in_training(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text('id, text\n1, "so, it ""goes"""\n2, fine\n', encoding="utf-8")
    file = Delimited(data, NAMES, ",")
    assert [file.cell(fields, "text") for _, _, fields in file.rows()] == read_table(data).columns["text"]
    assert read_table(data).columns["text"] == ['so, it "goes"', "fine"]
    file.copy(tmp_path / "o.csv", NAMES, [["good", 0.5]] * 2)
    assert (tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()[1] == '1, "so, it ""goes""",good,0.5'


def test_a_label_keeps_its_blanks_in_a_copy_without_quoting(tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text('text\nsay "hi"\n', encoding="utf-8")
    Delimited(tmp_path / "d.tsv", NAMES, "\t").copy(tmp_path / "o.tsv", NAMES, [[" very  good\t", 0.5]])
    assert (tmp_path / "o.tsv").read_text(encoding="utf-8").endswith('say "hi"\t very  good \t0.5\n')


# Tasks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", WRITERS)
def test_multi_label_rows_have_their_labels_too(ending: str, task_onnx: Callable[[str], Path], tmp_path: Path) -> None:
    model = task_onnx("multi_label")
    data, out = WRITERS[ending](tmp_path / f"d{ending}", TEXTS), tmp_path / f"out{ending}"
    with compress.load(model, threads=1) as classifier:
        assert predict_file(classifier, model, data, out, prefix="p_").columns == ("p_label", "p_score", "p_labels")
        found = [row["p_labels"] for row in read(out)]
        labels = [json.loads(row) if ending == ".csv" else row for row in found]
        assert labels == [list(one.labels) for one in classifier(TEXTS)]
        assert {len(row) for row in labels} != {1}


def test_pairs_are_two_columns(task_onnx: Callable[[str], Path], tmp_path: Path) -> None:
    model = task_onnx("pair_single_label")
    data = tmp_path / "d.csv"
    data.write_text("one,text,two\ngood,x,bad\n", encoding="utf-8")
    with compress.load(model, threads=1) as classifier:
        with pytest.raises(CompressError, match=r"reads pairs of texts, .* --text COLUMN twice"):
            predict_file(classifier, model, data, tmp_path / "o.csv")
        predict_file(classifier, model, data, tmp_path / "o.csv", text=["one", "two"])
        assert answers(tmp_path / "o.csv") == expected(classifier, [("good", "bad")])


# A run that ends early goes on ---------------------------------------------------------------------------------------


class Counting:
    """A classifier that counts the texts that it is given, and is interrupted after some answers."""

    def __init__(self, classifier: Classifier, most: int) -> None:
        self.task, self.precision = classifier.task, classifier.precision
        self.texts = 0
        self._classifier, self._most = classifier, most

    def stream(self, texts: Iterable[Text]) -> Iterator[Prediction]:
        for number, answer in enumerate(self._classifier.stream(map(self._count, texts))):
            if number == self._most:
                raise KeyboardInterrupt
            yield answer

    def _count(self, text: Text) -> Text:
        self.texts += 1
        return text


@pytest.mark.parametrize("ending", WRITERS)
def test_an_interrupted_run_answers_no_text_twice(
    ending: str, classifier: Classifier, tiny_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.bulk.predict.ROWS_AT_ONCE", 32)
    texts = [f"good film number {number}" for number in range(120)]
    data, out = WRITERS[ending](tmp_path / f"d{ending}", texts), tmp_path / f"o{ending}"
    first, second = Counting(classifier, most=100), Counting(classifier, most=10_000)
    with pytest.raises(KeyboardInterrupt, match=r"96 of 120 answers are kept"):
        predict_file(first, tiny_int8, data, out)  # type: ignore[arg-type]
    assert not out.exists()
    journal = tmp_path / f".o{ending}.answers"
    torn = journal.read_bytes()
    journal.write_bytes(torn + b'["positive", 0.')  # a line that the disk has half of
    predict_file(second, tiny_int8, data, out)  # type: ignore[arg-type]
    assert second.texts == 120 - 96
    assert answers(out) == expected(classifier, texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([data.name, out.name])


def test_a_killed_command_goes_on(classifier: Classifier, tiny_int8: Path, tmp_path: Path) -> None:
    few = [f"bad {number}" for number in range(10)]
    texts = few * 250
    data, out, journal = write_csv(tmp_path / "d.csv", texts), tmp_path / "o.csv", tmp_path / ".o.csv.answers"
    command = ["compress", "predict", str(tiny_int8), "--data", str(data), "--out", str(out), "--threads", "1"]
    process = start_module(command, tmp_path / "told")
    wait_until(lambda: (journal.exists() and journal.stat().st_size > 1000) or not process.is_alive())
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not out.exists()
    counting = Counting(classifier, most=10_000)
    predict_file(counting, tiny_int8, data, out)  # type: ignore[arg-type]
    assert counting.texts < len(texts)
    assert answers(out) == expected(classifier, few) * 250


@pytest.mark.parametrize(("ending", "room"), [(".csv", 4_000), *((ending, 20_000) for ending in WRITERS)])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    ending: str, room: int, classifier: Classifier, tiny_int8: Path, tmp_path: Path
) -> None:
    texts = [f"good {number}" for number in range(300)]  # whose answers take 9 KB, and their copies 40
    data, out = WRITERS[ending](tmp_path / f"d{ending}", texts), tmp_path / f"o{ending}"
    command = ["compress", "predict", str(tiny_int8), "--data", str(data), "--out", str(out), "--quiet"]
    process = start_module(command, told := tmp_path / "told", file_bytes=room)
    process.join()
    assert process.exitcode == 2, told.read_text()
    assert told.read_text().startswith(f"compress: --out {out}: cannot be written (File too large)")
    assert told.read_text().count("\n") == 1
    assert not out.exists()
    counting = Counting(classifier, most=10_000)
    predict_file(counting, tiny_int8, data, out)  # type: ignore[arg-type]
    assert counting.texts in (range(100, 299) if room < 9_000 else [0])
    assert answers(out) == expected(classifier, texts)


def test_answers_of_other_data_are_not_taken_up(
    classifier: Classifier, tiny_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.bulk.predict.ROWS_AT_ONCE", 32)
    data, out = write_csv(tmp_path / "d.csv", ["good"] * 50), tmp_path / "o.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(Counting(classifier, most=40), tiny_int8, data, out)  # type: ignore[arg-type]
    write_csv(data, ["awful"] * 19)
    with pytest.raises(CompressError, match=r"answers of an earlier run .* --overwrite"):
        predict_file(classifier, tiny_int8, data, out)
    predict_file(classifier, tiny_int8, data, out, overwrite=True)
    assert answers(out) == expected(classifier, ["awful"] * 19)


def test_a_file_that_changes_meanwhile_is_refused(classifier: Classifier, tiny_int8: Path, tmp_path: Path) -> None:
    data, out = write_csv(tmp_path / "d.csv", ["good"] * 200), tmp_path / "o.csv"

    class Changing(Counting):
        def stream(self, texts: Iterable[Text]) -> Iterator[Prediction]:
            yield from super().stream(texts)
            write_csv(data, ["awful"] * 10)

    with pytest.raises(CompressError, match="changed while it was read"):
        predict_file(Changing(classifier, most=10_000), tiny_int8, data, out)  # type: ignore[arg-type]
    assert not out.exists()


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "flags", "words"),
    [
        ("d.csv", "text,label\na,x\n", (), ('"label"', "--prefix predicted_")),
        ("d.csv", "\n\ntext,label\na,x\n", (), ("line 3", '"label"')),
        ("d.jsonl", '{"text": "a"}\n{"text": "a", "score": 1}\n', (), ("line 2", '"score"', "--prefix")),
        ("d.csv", "a,b\na,x\n", (), ("no column has a usual name", "--text")),
        ("d.csv", "a,b\na,x\n", ("--text", "c"), ('no column "c"', '"a"')),
        ("d.csv", "text,text_pair\na,x\n", (), ("single texts", "--text COLUMN")),
        ("d.csv", "", (), ("empty",)),
        ("d.csv", "text\n", (), ("no rows",)),
        ("d.csv", "text,b\na,x\nb\n", (), ("line 3", "expected 2", "found 1")),
        ("d.csv", 'text,b\n"a,x\nb\n', (), ("line 2", "quoted")),
        ("d.csv", "text\na\n".encode("utf-16"), (), ("line 1", "not UTF-8", "iconv")),
        ("d.csv", "text,b\ra,x\rb,y\r", (), ("carriage returns alone", "tr '\\r' '\\n'")),
        ("d.csv", 'sep=;\ntext;b\na;1\na;"x\n', (), ("line 4", "quoted")),
        ("d.csv", b"text\na\n\xe9\n", (), ("line 3", "0xe9")),
        ("d.jsonl", '{"text": "a"}\n{"text": null}\n', (), ("line 2", "missing")),
        ("d.jsonl", '{"text": "a"}\n{"text": "\\ud83d"}\n', (), ("line 2", "surrogate")),
        ("d.jsonl", '{"text": "a"}\n[1]\n', (), ("line 2", "expected an object")),
        ("d.jsonl", '{"text": "a"}\n{"text"\n', (), ("line 2", "not JSON")),
        ("d.parquet", "no", (), ("not a whole Parquet file",)),
        ("d.parquet", broken_parquet(), (), ("not a whole Parquet file",)),
        ("d.xlsx", "no", (), (".csv", ".parquet")),
        ("d.csv.gz", "no", (), ("unpack",)),
    ],
)
def test_what_cannot_be_answered_is_refused_before_any_work(
    name: str,
    content: str | bytes,
    flags: tuple[str, ...],
    words: tuple[str, ...],
    tiny_int8: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / name
    data.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = tmp_path / f"out{data.suffix}"
    assert main(["predict", str(tiny_int8), "--data", str(data), "--out", str(out), "--threads", "1", *flags]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    for word in words:
        assert word in said.err
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "o.csv"), ("--data FILE and --out FILE belong together",)),
        (("--data", "d.csv"), ("--data FILE and --out FILE belong together",)),
        (("--data", "d.csv", "--out", "o.csv", "a text"), ("not both",)),
        (("a text", "--text", "b"), ("--text, --prefix and --overwrite go with --data",)),
        (("a text", "--overwrite"), ("--text, --prefix and --overwrite go with --data",)),
        (("--data", "absent.csv", "--out", "o.csv"), ("absent.csv", "No such file")),
        (("--data", "d.csv", "--out", "o.jsonl"), ("o.jsonl", "CSV", ".csv")),
        (("--data", "d.csv", "--out", "d.csv", "--overwrite"), ("is the data",)),
        (("--data", "d.csv", "--out", "there.csv"), ("there.csv", "exists", "--overwrite")),
        (("--data", "d.csv", "--out", "folder.csv", "--overwrite"), ("folder.csv", "exists")),
        (("--data", "d.csv", "--out", "no/o.csv"), ("no folder no",)),
        (("--data", "pipe.csv", "--out", "o.csv"), ("pipe.csv", "no plain file")),
    ],
)
def test_paths_that_do_not_fit_are_refused(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    tiny_int8: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "d.csv", TEXTS)
    write_csv(tmp_path / "there.csv", TEXTS)
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert main(["predict", str(tiny_int8), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for word in words:
        assert word in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_one_process_at_a_time_writes_a_copy(classifier: Classifier, tiny_int8: Path, tmp_path: Path) -> None:
    data, out = write_csv(tmp_path / "d.csv", TEXTS), tmp_path / "o.csv"

    class Second(Counting):
        def stream(self, texts: Iterable[Text]) -> Iterator[Prediction]:
            with pytest.raises(CompressError, match="another process writes it"):
                predict_file(classifier, tiny_int8, data, out)
            return super().stream(texts)

    predict_file(Second(classifier, most=100), tiny_int8, data, out)  # type: ignore[arg-type]
    assert answers(out) == expected(classifier, TEXTS)
