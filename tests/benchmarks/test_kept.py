"""What the benchmarks share: tables, failures that can be foreseen, results that are not there."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.kept import NOT_YET, about, markdown, program, spread
from compress.errors import CompressError


def test_a_table_has_as_many_columns_in_each_line_and_numbers_to_the_right() -> None:
    assert markdown([("data", "what", "ms"), ("mrpc", "failed"), ("sst2", "int8", 1.5)], words=2).splitlines() == [
        "| data | what | ms |",
        "| --- | --- | --: |",
        "| mrpc | failed |  |",
        "| sst2 | int8 | 1.5 |",
    ]


def test_a_result_says_of_which_code_it_is() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tables.ROOT, capture_output=True, text=True, check=False)
    if head.returncode:
        pytest.skip("not a clone")
    commit = about([1])["commit"]
    assert len(commit.removesuffix("-dirty")) == 12
    assert head.stdout.startswith(commit.removesuffix("-dirty"))


def test_a_spread_is_that_of_a_sample_in_the_form_of_the_mean() -> None:
    assert spread([1.0, 3.0]) == "2.0 ± 1.4"
    assert spread([1.0, 3.0], "+.2f") == "+2.00 ± 1.41"
    assert spread([1.0]) == "1.0"


def test_a_failure_that_can_be_foreseen_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise CompressError("nowhere: no such folder")

    with pytest.raises(SystemExit) as ended:
        program(main)
    assert (ended.value.code, capsys.readouterr().err) == (2, "nowhere: no such folder\n")


def test_each_table_of_a_result_that_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for name in (*tables._OF_RESULT, "demo"):
        assert tables.table(name) == NOT_YET
