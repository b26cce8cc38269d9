"""A folder is loaded while others replace it: what answers is one model or the other, never a mix of two."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import compress
from compress.errors import CompressError
from compress.modeling.checkpoint import load_classifier, save_checkpoint
from compress.new_folder import new_folder
from compress.replacement import open_whole
from tests.tiny import parts

LOADS = 10
PAUSES_S = (0.0, 0.02, 0.1, 0.3)  # in turn, so that some replacements come in the middle of a load


@pytest.fixture(scope="module")
def twins(tiny_torch: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_onnx, twin_of(tiny_torch, tmp_path_factory.mktemp("twin"))


def twin_of(model: Path, place: Path) -> Path:
    """The export of a model that answers alike: the graph of one with the labels of the other answers wrongly."""
    checkpoint = load_classifier(str(model))
    with torch.no_grad():
        for weight in parts(checkpoint.model).classifier.parameters():
            weight.copy_(weight.flip(0))
    (place / "torch").mkdir()
    save_checkpoint(replace(checkpoint, labels=checkpoint.labels[::-1]), place / "torch")
    compress.export(place / "torch", place / "twin", threads=1)
    return place / "twin"


@contextmanager
def repeated(act: Callable[[int], object]) -> Iterator[None]:
    """Do ``act`` again and again beside the block."""
    done = threading.Event()

    def loop() -> None:
        number = 0
        while not done.is_set():
            act(number)
            done.wait(PAUSES_S[number // 2 % len(PAUSES_S)])
            number += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def steps_write(place: Path, twins: tuple[Path, Path]) -> Callable[[int], object]:
    """As a step does with ``--overwrite``."""

    def write(number: int) -> None:
        with new_folder(place / "model", overwrite=True) as folder:
            shutil.copytree(twins[number % 2], folder, dirs_exist_ok=True)

    write(0)
    return write


def folders_change_places(place: Path, twins: tuple[Path, Path]) -> Callable[[int], object]:
    """The same two folders again and again, by one rename of a link: what ``ln -sfn`` and deployments do."""
    for number, twin in enumerate(twins):
        shutil.copytree(twin, place / f"version-{number}")

    def link(number: int) -> None:
        (place / "next").symlink_to(place / f"version-{number % 2}")
        (place / "next").replace(place / "model")

    link(0)
    return link


@pytest.mark.parametrize("writer", [steps_write, folders_change_places])
def test_every_load_answers_as_one_model(
    writer: Callable[[Path, tuple[Path, Path]], Callable[[int], object]], twins: tuple[Path, Path], tmp_path: Path
) -> None:
    right = compress.load(twins[0], threads=1)("a superb film").label
    seen = set()
    with repeated(writer(tmp_path, twins)):
        for _ in range(LOADS):
            with compress.load(tmp_path / "model", threads=1) as classifier:
                assert classifier("a superb film").label == right
                seen.add(classifier.labels)
    assert len(seen) == 2


def test_a_folder_that_never_stays_is_refused(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_onnx, tmp_path / "model")
    monkeypatch.setattr("compress.replacement._TRIES", 3)
    with pytest.raises(CompressError, match="its files changed each time they were read"):
        open_whole(tmp_path / "model", lambda _: (tmp_path / "model/compress.json").touch())


def test_notes_written_into_the_folder_disturb_nobody(tiny_onnx: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_onnx, model)
    model.rename(tmp_path / "other")
    (tmp_path / "other").rename(model)
    calls: list[int] = []

    def open_files(_: object) -> str:
        calls.append(0)
        (model / f"note-{len(calls)}").touch()
        return "opened"

    assert open_whole(model, open_files) == "opened"
    assert len(calls) <= 2


def test_a_folder_that_goes_and_comes_back_is_read_again(tiny_onnx: Path, tmp_path: Path) -> None:
    model, calls = tmp_path / "model", []
    shutil.copytree(tiny_onnx, model)

    def open_files(_: object) -> int:
        calls.append(0)
        if len(calls) == 1:
            time.sleep(0.02)  # the system's clock for files is coarse
            model.rename(tmp_path / "other")
            (tmp_path / "other").rename(model)
        return len(calls)

    assert open_whole(model, open_files) == 2


def test_a_folder_set_aside_and_never_replaced_says_what_to_do(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_onnx, tmp_path / ".model.old")
    monkeypatch.setattr("compress.replacement._TRIES", 3)
    with pytest.raises(CompressError, match="the command that replaced it was killed; wait for it, or run it again"):
        compress.load(tmp_path / "model")


def test_a_folder_that_was_left_aside_hides_no_other_reason(tiny_onnx: Path, tmp_path: Path) -> None:
    for name in ("model", ".model.old"):
        shutil.copytree(tiny_onnx, tmp_path / name)
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(CompressError, match=r"tokenizer\.json: missing"):
        compress.load(tmp_path / "model")
