"""Tasks side by side: after what they need, each once, also over several runs; what fails stops only what needs it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import ROWS, Place, Task, read_rows, run


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
    assert [row["task"] for row in read_rows(tmp_path / ROWS)] == ["a", "b/first"]
    assert "No such file" in (tmp_path / "rows" / "reads.log").read_text(encoding="utf-8")
    (tmp_path / "given").write_text("something", encoding="utf-8")
    assert run(place, tasks, 2)
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "a first last "
    assert read_rows(tmp_path / ROWS)[-2]["read"] == "something"


def test_at_the_end_of_the_time_the_rest_is_stopped(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, time.time() + 3)
    assert not run(place, [Task("waits", wait, ())], 1)
    assert read_rows(tmp_path / ROWS) == []
