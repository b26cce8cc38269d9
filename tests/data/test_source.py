"""What was read is said in one line, when the work begins."""

from collections.abc import Callable

import pytest

from compress.data import Dataset
from compress.formatting import some
from compress.progress import be_quiet, progress, say, say_before_work

Read = Callable[..., Dataset]

HEADER = "text,intent,id\n"
ROWS = "".join(f"text {number},i{number % 8},{number}\n" for number in range(80))


def test_the_line_names_files_columns_rows_and_labels(read: Read, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = read({"train.csv": HEADER + ROWS, "test.csv": HEADER + "so,i0,1\ntext 3,i1,2\n", "notes.csv": "a"})
    said = capsys.readouterr().err
    assert said.startswith("data: ")
    assert said.count("\n") == 1
    for words in (
        "train from train.csv, test from test.csv; not used: notes.csv; ",
        'text from "text", label from "intent"; rows: 72 train, 8 validation (held out from train), 2 test; ',
        "8 labels: i0, i1, i2, i3, i4 and 3 more; no test row has i2, i3, i4, i5, i6 or 1 more",
        "; 1 test texts are in train too",
    ):
        assert words in said
    assert dataset.source is not None
    about = dataset.source.as_dict()
    assert about["labels"] == {"count": 8, "first": ["i0", "i1", "i2", "i3", "i4"]}
    assert (about["unused"], about["held_out"], about["repeated"]) == ("notes.csv", ["validation"], 1)


@pytest.mark.parametrize("rows", [ROWS, ROWS.replace(",i", ",")])
def test_a_lone_file_is_named_once(read: Read, capsys: pytest.CaptureFixture[str], rows: str) -> None:
    read({"bank.csv": HEADER + rows}, "bank.csv")
    assert capsys.readouterr().err.count("bank.csv") == 1


def test_the_source_is_no_part_of_what_makes_data_sets_equal(read: Read) -> None:
    one = read({"a.csv": HEADER + ROWS}, "a.csv")
    other = read({"b.csv": HEADER + ROWS}, "b.csv")
    assert one == other
    assert one.source != other.source


def test_what_is_held_is_said_once_and_with_the_first_line_of_work(capsys: pytest.CaptureFixture[str]) -> None:
    say_before_work("read")
    say_before_work("read")
    assert capsys.readouterr().err == ""
    with progress("training", total=1) as advance:
        advance()
    assert capsys.readouterr().err.splitlines()[0] == "read"
    say_before_work("forgotten")
    be_quiet(False)  # the next command begins
    say("done")
    assert capsys.readouterr().err == "done\n"


def test_lists_are_cut_at_five() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
