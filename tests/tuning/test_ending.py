"""What a search leaves is whole, whatever stops it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compress.folder import MANIFEST
from compress.tuning.ending import write_front


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder of three models."""
    for name in ("first", "second", "third"):
        (folder := tmp_path / "tries" / name).mkdir(parents=True)
        (folder / MANIFEST).write_text(json.dumps({"format_version": 1, "files": {}}))
        (folder / "model.onnx").write_text(name)
    return tmp_path / "tries"


def names_in(front: Path) -> set[str]:
    return {path.name for path in front.iterdir() if path.is_dir()}


@contextmanager
def killed_once_a_manifest_is_gone() -> Iterator[None]:
    unlink = os.unlink

    def unlink_and_die(path: Any, *given: Any, **named: Any) -> None:
        unlink(path, *given, **named)
        if Path(path).name == MANIFEST:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", unlink_and_die)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_front_that_cannot_be_written_leaves_the_one_before(made: Path, tmp_path: Path) -> None:
    write_front(made, front := tmp_path / "front", ["first", "second"])
    with pytest.raises(FileNotFoundError):
        write_front(made, front, ["nowhere"])
    assert names_in(front) == {"first", "second"}
    write_front(made, front, ["third"])
    assert names_in(front) == {"third"}


def test_a_kill_while_models_are_taken_away_stops_no_later_end(made: Path, tmp_path: Path) -> None:
    write_front(made, front := tmp_path / "front", ["first", "second"])
    with killed_once_a_manifest_is_gone():
        write_front(made, front, [])
    write_front(made, front, ["first", "second"])
    assert names_in(front) == {"first", "second"}
    assert all((front / name / "model.onnx").read_text() == name for name in ("first", "second"))
