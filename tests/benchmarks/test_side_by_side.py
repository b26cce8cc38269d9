"""Tasks side by side: after what they need, each once, also over several runs; what fails stops only what needs it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kept import read_lines
from benchmarks.side_by_side import ROWS, Place, Task, keep, only_with, run


def note(place: Place, name: str) -> Mapping[str, Any]:
    """Leave a line; what needs another's folder fails without it."""
    with (place.out / "notes").open("a", encoding="utf-8") as file:
        file.write(f"{name} ")
    return {"name": name}


def read(place: Place) -> Mapping[str, Any]:
    return {"read": (place.out / "given").read_text(encoding="utf-8")}


def wait(_: Place) -> Mapping[str, Any]:
    time.sleep(600)
    return {}


def test_what_is_done_is_not_done_again_and_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, float("inf"))
    tasks = [
        Task("b/last", note, ("last",), needs=("reads", "a")),
        Task("reads", read, ()),
        Task("b/first", note, ("first",), needs=("a",), cpus=2),
        Task("a", note, ("a",), cpus=2),
    ]
    assert not run(place, tasks, 2)
    assert [row["task"] for row in read_lines(tmp_path / ROWS)] == ["a", "b/first"]
    assert "No such file" in (tmp_path / "rows" / "reads.log").read_text(encoding="utf-8")
    (tmp_path / "given").write_text("something", encoding="utf-8")
    assert run(place, tasks, 2)
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "a first last "
    assert read_lines(tmp_path / ROWS)[-2]["read"] == "something"


def test_at_the_end_of_the_time_the_rest_is_stopped(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, 3.0)
    assert not run(place, [Task("waits", wait, ())], 1)
    assert read_lines(tmp_path / ROWS) == []


def test_half_a_run_replaces_no_result_and_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    place, results = Place(tmp_path / "out", tmp_path, float("inf")), tmp_path / "kept.jsonl"
    only_with(place, {"epochs": 1})
    only_with(place, {"epochs": 2})  # nothing is done yet
    (place.out / ROWS).write_text('{"task": "a"}\n', encoding="utf-8")
    only_with(place, {"epochs": 2})
    with pytest.raises(SystemExit, match="rows of other settings"):
        only_with(place, {"epochs": 1})
    assert keep(results, place, list, 1, whole=True) == 0
    whole = results.read_bytes()
    assert keep(results, place, list, 1, whole=False) == 1
    assert results.read_bytes() == whole
    about, row = (place.out / results.name).read_text(encoding="utf-8").splitlines()
    assert json.loads(about)["partial"]
    assert json.loads(row) == {"task": "a"}


def test_a_task_that_no_number_of_free_cpus_would_begin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--cpus 1: wide takes 2"):
        run(Place(tmp_path, tmp_path, float("inf")), [Task("wide", note, ("wide",), cpus=2)], 1)
