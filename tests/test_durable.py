"""A full disk is told in one line, whatever library meets it, and the same command goes on when there is room again."""

import errno
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import compress
from compress.distillation.teacher_cache.cache import Cache
from compress.durable import disk_failure, read_sealed, remove, write_errors_in_one_line, write_sealed, write_whole
from compress.errors import CompressError
from compress.latency.table import Timing, read_timings, write_timings
from compress.modeling.widths import Widths
from compress.new_folder import new_folder
from tests.damage import largest_file
from tests.training.test_damaged_checkpoints import train
from tests.training.test_resume import contents


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a small file system with these options of tmpfs."""
    place = tmp_path / "disk"

    def mounted(options: str) -> Path:
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            place.rmdir()
            pytest.skip("may not mount a file system here")
        return place

    yield mounted
    if place.exists():
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def by_torch(folder: Path) -> None:
    with (folder / "state.pt").open("wb") as file:
        torch.save({"weights": torch.zeros(100_000)}, file)


WRITERS: dict[str, Callable[[Path, Path], object]] = {
    "safetensors": lambda folder, _: save_file({"weights": torch.zeros(100_000)}, folder / "model.safetensors"),
    "tokenizers": lambda folder, model: Tokenizer.from_file(str(model / "tokenizer.json")).save(f"{folder}/a.json"),
    "onnx": lambda folder, model: onnx.save(onnx.load(model / "onnx/model.onnx"), folder / "model.onnx"),
    "torch": lambda folder, _: by_torch(folder),
    "python": lambda folder, _: (folder / "text").write_text("text " * 20_000),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_library_writes_a_file_that_cannot_grow_it_is_one_line(
    writer: str, tiny_onnx: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(CompressError, match=r"^--out x: cannot be written \(File too large\); free some space"),
        largest_file(2_000),
        write_errors_in_one_line("--out x", tmp_path),
    ):
        WRITERS[writer](tmp_path, tiny_onnx)


def test_other_faults_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a fault of ours"), write_errors_in_one_line("--out x", tmp_path):
        raise RuntimeError("a fault of ours")
    with pytest.raises(FileNotFoundError), write_errors_in_one_line("--out x", tmp_path / "out"):
        (tmp_path / "else").read_text()
    assert disk_failure(ValueError("os error 28")) is None
    (tmp_path / "out2").mkdir()
    for place in (tmp_path / "out" / "missing", tmp_path / "out2"):  # to be read, and beside
        with (
            pytest.raises(OSError, match=r"No such file|Is a directory"),
            write_errors_in_one_line("x", tmp_path / "out"),
        ):
            place.read_text()


def test_a_failure_that_was_handled_is_not_told() -> None:
    with pytest.raises(ValueError, match="a fault of ours"), write_errors_in_one_line("--out x", Path()):
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError:
            raise ValueError("a fault of ours")  # noqa: B904 - as libraries do


def test_a_training_on_a_full_disk_goes_on_when_there_is_room(
    tiny_encoder: Path, tiny_data: Path, tmp_path: Path, mount: Callable[[str], Path]
) -> None:
    disk = mount("size=3m")
    train(tiny_encoder, tiny_data, tmp_path / "whole")
    for left_bytes in (2_900_000, 1_000_000, 20_000):  # it fails at one file and another
        with (disk / "others").open("ab") as file:
            file.write(bytes(max(0, shutil.disk_usage(disk).free - left_bytes)))
        with pytest.raises(CompressError, match=r"cannot be written \(No space left on device\)"):
            train(tiny_encoder, tiny_data, disk / "out", checkpoint_seconds=0)
        assert {path.name for path in disk.iterdir()} <= {"others", ".out.unfinished"}
    (disk / "others").unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    train(tiny_encoder, tiny_data, disk / "out", checkpoint_seconds=0)
    assert contents(disk / "out") == contents(tmp_path / "whole")
    assert [path.name for path in disk.iterdir()] == ["out"]


def test_a_run_that_cannot_note_what_it_did_is_told(tiny_torch: Path, tiny_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    steps = {"onnx": {"step": "export", "model": str(tiny_torch)}}
    recipe.write_text(json.dumps({"data": str(tiny_data), "steps": steps}))
    with largest_file(1), pytest.raises(CompressError, match=r"run: cannot be written \(File too large\)"):
        compress.run(recipe, tmp_path / "run")


def test_a_finished_run_that_cannot_be_written_is_up_to_date(
    tiny_torch: Path, tiny_data: Path, tmp_path: Path, mount: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    disk, recipe = mount("size=20m"), tmp_path / "recipe.yaml"
    steps: dict[str, Any] = {"onnx": {"step": "export", "model": str(tiny_torch), "threads": 1}}
    recipe.write_text(json.dumps({"data": str(tiny_data), "steps": steps}))
    compress.run(recipe, disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    capsys.readouterr()
    assert compress.run(recipe, disk / "run") == {}
    assert "[1/1] onnx: up to date" in capsys.readouterr().err
    recipe.write_text(json.dumps({"data": str(tiny_data), "steps": {"other": steps["onnx"]}}))
    with pytest.raises(CompressError, match=r"cannot be written \(Read-only file system\)"):
        compress.run(recipe, disk / "run")


def test_a_cache_whose_folder_cannot_be_made_is_told(mount: Callable[[str], Path]) -> None:
    cache = Cache(mount("size=64k,nr_inodes=1") / "cache", "0" * 64, "fp32")
    told = "No space left on device; it needs 1 MB and has 0 MB; buy a disk"
    with pytest.raises(CompressError, match=told), cache.room_for(10**6, "buy a disk"):
        pass


def test_a_file_changes_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_whole(path, "before")
    with largest_file(1_000), pytest.raises(OSError, match="File too large"):
        write_whole(path, "after " * 1_000)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF])
def test_a_file_system_that_cannot_sync_stops_no_step(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", failing(number))
    with new_folder(tmp_path / "out") as partial:
        (partial / "file").touch()
    assert (tmp_path / "out" / "file").is_file()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fails_at_the_sync_is_told(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", failing(number))
    with pytest.raises(CompressError, match="cannot be written"), new_folder(tmp_path / "out") as partial:
        (partial / "file").touch()
    assert list(tmp_path.iterdir()) == []


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("fault", ["rename", "unlink"])
def test_what_is_removed_goes_though_one_operation_fails(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is up to date afterwards would leave it there for good."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    real, calls = getattr(os, fault), []

    def once(*arguments: Any, **more: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.EIO, "a bad block")
        real(*arguments, **more)

    monkeypatch.setattr(os, fault, once)
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
    assert calls


@pytest.mark.parametrize("content", [{"a": 1}, {"text": 'ü \ud800 } "manifest_sha256": "', "list": [{}]}])
def test_what_is_sealed_reads_back(content: dict[str, object], tmp_path: Path) -> None:
    write_sealed(tmp_path / "file.json", content)
    assert read_sealed(tmp_path / "file.json") == content
    json.loads((tmp_path / "file.json").read_bytes())


def test_without_its_seal_it_is_refused_where_one_is_required(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"a": 1}')
    assert read_sealed(tmp_path / "file.json", required=False) == {"a": 1}
    with pytest.raises(ValueError, match="changed since it was written"):
        read_sealed(tmp_path / "file.json")


def test_many_write_one_latency_table_and_none_fails(tmp_path: Path) -> None:
    place, failed = tmp_path / "latency" / "table.json", []

    def write(number: int) -> None:
        for _ in range(20):
            try:
                write_timings(place, {Widths((number,), (1,)): Timing(1.0, 1.0)})
                assert len(read_timings(place)) == 1
            except BaseException as error:
                failed.append(error)
                raise

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert {path.name for path in place.parent.iterdir()} == {"table.json"}
