"""What a search remembers: kept until it is to be forgotten, and refused in one line where it is none."""

import json
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from compress.errors import CompressError
from compress.folder import SEARCH
from compress.modeling.widths import Cut
from compress.new_folder import LOCK, growing_folder
from compress.tuning.record import SearchRecord, check_folder
from compress.tuning.tries import Try

ABOUT = {"model": "m", "threads": 2}


def begun(folder: Path, about: dict[str, Any], asked: dict[str, Any], *, forget: bool = False) -> SearchRecord:
    record = SearchRecord(folder, about, asked, forget=forget)
    record.begin()
    return record


def test_what_was_found_is_there_again_but_for_what_failed(tmp_path: Path) -> None:
    first = begun(tmp_path, ABOUT, {"max_drop": 1})
    with first.stage("words"):
        first.facts.words, first.facts.epoch_s[32], first.facts.cuts = 3, 1.5, {4.5: Cut([[0]], [[1, 2]])}
    first.add(Try("cut", 2, ms_ci95=(1.0, 2.0), seconds=5.0))
    first.add(Try("both", 0, failed="it does not pay", final=True, seconds=7.0))
    first.add(Try("layers-1", 2, failed="no room", seconds=10.0))
    again = begun(tmp_path, ABOUT, {"max_drop": 1})
    assert again.tries == first.tries[:2]  # what is left out for good has no second try, and counts
    assert again.facts == first.facts
    assert again.spent_s == pytest.approx(22, abs=1)  # with what the failed one took
    assert begun(tmp_path, ABOUT, {"max_drop": 1}).spent_s == again.spent_s
    before = (tmp_path / SEARCH).read_bytes()
    other = SearchRecord(tmp_path, ABOUT, {"max_drop": 2})
    assert other.spent_s == 0
    with other.stage("words"):
        other.facts.words = 5
    SearchRecord(tmp_path, ABOUT, {}, forget=True)
    assert (tmp_path / SEARCH).read_bytes() == before  # what has not begun changes nothing


def test_what_comes_before_the_tries_is_counted_by_itself_and_anew_where_something_else_is_asked(
    tmp_path: Path,
) -> None:
    first = begun(tmp_path, ABOUT, {"max_drop": 1})
    with first.stage("cuts"):
        sleep(0.02)
    first.add(Try("cut", 2, seconds=5.0))
    first.add(Try("gone", 2, seconds=7.0))
    assert first.spent_s - 12 == pytest.approx(first.spent_before_tries_s)
    assert 0.02 <= first.spent_before_tries_s < 1
    other = SearchRecord(tmp_path, ABOUT, {"max_drop": 2})
    for _ in range(2):
        assert other.spent_s == other.spent_before_tries_s == 0
        other.keep_tries(lambda each: each.candidate == "cut")  # of the time that was asked for before
    other.begin()
    other.add(Try("layers-1", 2, seconds=3.0))
    assert (other.spent_s, other.spent_before_tries_s) == (3, 0)


def test_to_forget_takes_all_but_the_lock(tmp_path: Path) -> None:
    begun(tmp_path, ABOUT, {}).add(Try("cut", 2))
    (tmp_path / "best").mkdir()
    (tmp_path / LOCK).touch()
    assert begun(tmp_path, ABOUT, {}, forget=True).tries == []
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, SEARCH}
    with pytest.raises(CompressError, match="differs in threads; choose another"):
        SearchRecord(tmp_path, ABOUT | {"threads": 4}, {})


def test_what_a_kill_at_the_beginning_leaves_is_of_a_search_and_other_files_are_of_strangers(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    (tmp_path / f".{SEARCH}.partial").touch()
    with growing_folder(tmp_path, "search", SEARCH, state_is_worth_keeping=True):
        (tmp_path / "letter.txt").touch()
    with (
        pytest.raises(CompressError, match="is not the folder of a search"),
        growing_folder(tmp_path, "search", SEARCH, state_is_worth_keeping=True),
    ):
        pass


@pytest.mark.parametrize(
    "content",
    [
        ["about", "tries"],
        {"about": 1, "tries": []},
        {"about": {}, "tries": [{"ms": "fast"}]},
        {"about": {}, "tries": [], "facts": {"whole": {"int8_ms": 1.0}}},
        {"about": {}, "tries": [], "facts": {"cuts": {"2.0": {"heads": 1}}}},
        {"about": {}, "tries": [], "facts": {"teacher": {}}},
        "{",
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line(content: Any, tmp_path: Path) -> None:
    (tmp_path / SEARCH).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CompressError, match=r"^[^\n]+search.json[^\n]+damaged[^\n]+$"):
        check_folder(tmp_path, ())
        SearchRecord(tmp_path, {}, {})
