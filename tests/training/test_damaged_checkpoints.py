"""A damaged checkpoint stops nobody: it is reported and left, and an older one or a new start ends with the same bytes.

Two real checkpoints of one training are damaged in every way, one file at a time.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.folder import read_manifest
from compress.training import run_files
from tests.damage import empty, flip, truncate
from tests.training.test_resume import contents

FILES = ("state.pt", "random-0.pt", "checkpoint.json")
# 34 steps, with a checkpoint after 10 and one at the validation after 17.
SETTINGS: dict[str, Any] = {
    "epochs": 1,
    "precision": "fp32",
    "learning_rate": 5e-4,
    "batch_size": 8,
    "threads": 1,
    "max_length": 16,
}


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "truncated": truncate,
    "empty": empty,
    "a bit at the start": partial(flip, where=0.0),
    "a bit in the middle": flip,
    "a bit at the end": partial(flip, where=1.0),
    "a folder": folder_instead,
}


class Killed(BaseException):
    """Ends a training as a kill would, at a point that a test chooses."""


def train(model: Path, data: Path, out: Path, **more: Any) -> None:
    compress.finetune(model, data, out, **SETTINGS, **more)


@pytest.fixture(scope="module")
def checkpoints(
    shallow_encoder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """A folder with two checkpoints of a killed training, and the files that it ends with when nobody kills it."""
    place = tmp_path_factory.mktemp("checkpoints")
    train(shallow_encoder, tiny_data, place / "whole")

    def remove(folder: Path) -> None:
        if folder.exists():
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(run_files, "remove", remove)  # the kill comes before the older checkpoint goes
        train(shallow_encoder, tiny_data, place / "out", checkpoint_seconds=0)
    unfinished = place / ".out.unfinished"
    assert {path.name for path in unfinished.iterdir()} == {"step-000000010", "step-000000017"}
    assert {path.name for path in (unfinished / "step-000000010").iterdir()} == set(FILES)
    return unfinished, contents(place / "whole")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_the_next_older_checkpoint_is_taken(
    damage: str,
    name: str,
    checkpoints: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = newest(checkpoints[0], tmp_path, lambda folder: DAMAGE[damage](folder / name), 1)
    assert found == 10
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "step-000000017: a damaged checkpoint" in told
    assert name in told or name == "checkpoint.json"
    assert (tmp_path / "left" / "step-000000017").exists()


@pytest.mark.parametrize("damage", DAMAGE)
def test_without_a_sound_one_there_is_a_new_start(
    damage: str, checkpoints: tuple[Path, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert newest(checkpoints[0], tmp_path, lambda folder: DAMAGE[damage](folder / "state.pt"), 2) is None
    assert capsys.readouterr().err.count("a damaged checkpoint") == 2


def newest(checkpoints: Path, tmp_path: Path, damage: Callable[[Path], None], how_many: int) -> int | None:
    """The step that a training would go on after, with so many of the newest checkpoints damaged."""
    from accelerate import Accelerator

    folder = tmp_path / "left"
    shutil.copytree(checkpoints, folder)
    identity = run_files._sound_identity(folder / "step-000000010")
    for checkpoint in sorted(folder.iterdir(), reverse=True)[:how_many]:
        damage(checkpoint)
    found = run_files.Checkpoints(run_files.RunFiles(tmp_path, folder), identity, 0, Accelerator(cpu=True)).newest()
    return found[0] if found else None


@pytest.mark.parametrize("how_many", [0, 1, 2])
def test_the_same_command_ends_with_the_same_bytes(
    how_many: int,
    checkpoints: tuple[Path, dict[str, bytes]],
    shallow_encoder: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    unfinished, whole = checkpoints
    shutil.copytree(unfinished, tmp_path / ".out.unfinished")
    for checkpoint in sorted((tmp_path / ".out.unfinished").iterdir(), reverse=True)[:how_many]:
        flip(checkpoint / "state.pt")
    train(shallow_encoder, tiny_data, tmp_path / "out", checkpoint_seconds=0)
    told = capsys.readouterr().err
    assert told.count("a damaged checkpoint") == how_many
    assert (f"goes on after step {(17, 10, 0)[how_many]}" in told) == (how_many < 2)
    assert contents(tmp_path / "out") == whole
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert read_manifest(tmp_path / "out").history[-1]["metrics"]["steps"] == 34
