"""The store of a teacher's answers: whole or absent, whatever happens to the process, the files or the disk."""

import multiprocessing
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from compress.distillation.teacher_cache import outputs as fill
from compress.distillation.teacher_cache.cache import teacher_digest, text_keys
from compress.errors import CompressError
from compress.machine import cache_root
from compress.modeling.checkpoint import Checkpoint, load_classifier, save_checkpoint
from compress.runtime.encoding import Encoding
from compress.training.batches import Encodings
from tests.damage import empty, flip, largest_file, truncate
from tests.distillation.test_teacher import answers, batch_of, logits_of, settings, shown_by, subset, texts_read, unlike
from tests.tiny import make_bert, make_checkpoint, read

LABELS = ("negative", "positive")
NONE: frozenset[str] = frozenset()


@pytest.fixture
def teacher(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(), LABELS)


@pytest.fixture
def encodings(teacher: Checkpoint, tiny_data: Path) -> Encodings:
    return Encodings.pack(teacher.encoder(read(tiny_data).train.texts))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def own_logits(teacher: Checkpoint, encodings: Encodings) -> torch.Tensor:
    return shown_by(teacher, batch_of(encodings, list(range(len(encodings)))), NONE)["logits"]


def contents(cache: Path) -> list[Path]:
    """All that is kept: everything but locks and empty folders."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.name != "lock")


# Keys


def keys_of(*encodings: Encoding) -> list[bytes]:
    packed = Encodings.pack(encodings)
    return [key.tobytes() for key in text_keys(packed, np.arange(len(packed)))]


def test_a_key_tells_token_ids_types_and_lengths_apart_and_nothing_else() -> None:
    pair = Encoding([2, 7, 3, 8, 3], [0, 0, 0, 1, 1])
    others = [
        Encoding([2, 7, 3, 8, 3], [0, 0, 0, 0, 1]),
        Encoding([2, 7, 3, 9, 3], [0, 0, 0, 1, 1]),
        Encoding([2, 7, 3, 8], [0, 0, 0, 1]),
        Encoding([2, 7, 3, 8, 3, 0], [0, 0, 0, 1, 1, 0]),
    ]
    keys = keys_of(pair, *others)
    assert len(set(keys)) == 5
    assert {len(key) for key in keys} == {16}
    assert keys_of(others[0], pair)[1] == keys[0]  # wherever it stands


def test_a_teachers_digest_is_that_of_what_decides_its_answers(tiny_encoder: Path, tmp_path: Path) -> None:
    def teacher(**shape: Any) -> Checkpoint:
        return make_checkpoint(tiny_encoder, make_bert(**shape), LABELS)

    first = teacher()
    save_checkpoint(first, tmp_path / "saved")
    loaded = [load_classifier(str(tmp_path / "saved")) for _ in range(2)]
    digests = [
        teacher_digest(one) for one in (teacher(seed=1), teacher(activation="relu"), teacher(heads=(4, 4, 4, 2)))
    ]
    assert len({teacher_digest(first), *digests}) == 4
    assert teacher_digest(loaded[0]) == teacher_digest(loaded[1])


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ("/a", {"COMPRESS_CACHE": "/b", "XDG_CACHE_HOME": "/c"}, "/a"),
        (None, {"COMPRESS_CACHE": "/b", "XDG_CACHE_HOME": "/c"}, "/b"),
        (None, {"COMPRESS_CACHE": "", "XDG_CACHE_HOME": "/c"}, "/c/compress"),
        (None, {}, "~/.cache/compress"),
        ("~/kept", {}, "~/kept"),
    ],
)
def test_where_the_cache_is(
    monkeypatch: pytest.MonkeyPatch, given: str | None, environment: dict[str, str], expected: str
) -> None:
    for name in ("COMPRESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_root(given) == Path(expected).expanduser()


# Damage


@pytest.mark.parametrize("name", ["logits.npy", "index.npy", "shard.json"])
@pytest.mark.parametrize("damage", [truncate, flip, empty, Path.unlink])
def test_a_damaged_shard_is_computed_again_and_said(
    teacher: Checkpoint,
    encodings: Encodings,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Any,
) -> None:
    monkeypatch.setattr(fill, "_SHARD_TEXTS", 120)
    answers(teacher, encodings, LABELS, NONE, settings(cache))
    capsys.readouterr()
    shards = sorted(path.parent for path in cache.rglob("shard.json"))
    assert len(shards) == 2
    damage(shards[0] / name)
    with texts_read(teacher) as passes:
        found = answers(teacher, encodings, LABELS, NONE, settings(cache))
        assert 0 < sum(passes) < unlike(encodings)
    said = capsys.readouterr().err
    if not (name == "logits.npy" and damage == Path.unlink):  # a shard without logits may be one of other states
        assert said.count("is damaged") == 1
        assert not shards[0].exists()
    assert torch.allclose(logits_of(found, encodings), own_logits(teacher, encodings), atol=1e-5)
    with texts_read(teacher) as passes:
        answers(teacher, encodings, LABELS, NONE, settings(cache))
        assert not passes


# Other processes

FORK = multiprocessing.get_context("fork")  # a fresh process would import for seconds


def ask(saved: Path, data: Path, cache: Path, dies_after: int, together: Any, told: Any) -> None:
    """Ask for the answers once all are ready, and put how many texts were read for it into ``told``."""
    torch.set_num_threads(1)
    fill._SHARD_TEXTS = 60
    teacher = load_classifier(str(saved))
    encodings = Encodings.pack(teacher.encoder(read(data).train.texts))
    with texts_read(teacher) as passes:

        def die(*_: object) -> None:
            if sum(passes) > dies_after:
                os.kill(os.getpid(), signal.SIGKILL)

        if dies_after:
            teacher.model.register_forward_hook(die)
        together.wait(60)
        answers(teacher, encodings, teacher.labels, NONE, settings(cache))
    told.put(sum(passes))


def run_together(count: int, saved: Path, data: Path, cache: Path, dies_after: int = 0) -> tuple[list[Any], list[int]]:
    """So many processes that ask at once: how each ended, and the texts that those read which lived."""
    together, told = FORK.Barrier(count), FORK.SimpleQueue()
    asking = [FORK.Process(target=ask, args=(saved, data, cache, dies_after, together, told)) for _ in range(count)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(120)
    ended = [one.exitcode for one in asking]
    return ended, [told.get() for status in ended if status == 0]


@pytest.fixture
def saved(teacher: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(teacher, tmp_path / "teacher")
    return tmp_path / "teacher"


def test_two_processes_at_once_read_each_text_once_and_a_third_reads_none(
    saved: Path, tiny_data: Path, encodings: Encodings, cache: Path
) -> None:
    ended, passes_of = run_together(2, saved, tiny_data, cache)
    assert ended == [0, 0]
    assert sum(passes_of) == unlike(encodings)
    teacher = load_classifier(str(saved))
    with texts_read(teacher) as passes:
        found = answers(teacher, encodings, LABELS, NONE, settings(cache))
        assert not passes
    assert torch.allclose(logits_of(found, encodings), own_logits(teacher, encodings), atol=1e-5)


def test_a_process_killed_half_way_leaves_what_was_whole(
    saved: Path, tiny_data: Path, encodings: Encodings, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_together(1, saved, tiny_data, cache, dies_after=100) == ([-signal.SIGKILL], [])
    assert list(cache.rglob("*.partial"))
    teacher = load_classifier(str(saved))
    with texts_read(teacher) as passes:
        found = answers(teacher, encodings, LABELS, NONE, settings(cache))
        assert sum(passes) == unlike(encodings) - unlike(subset(encodings, range(60)))
    assert not list(cache.rglob("*.partial"))
    assert "damaged" not in capsys.readouterr().err
    assert torch.allclose(logits_of(found, encodings), own_logits(teacher, encodings), atol=1e-5)


def test_answers_that_are_all_there_are_read_while_another_process_is_at_work(
    teacher: Checkpoint, encodings: Encodings, cache: Path
) -> None:
    first = logits_of(answers(teacher, encodings, LABELS, NONE, settings(cache)), encodings)
    (lock,) = cache.rglob("lock")
    with FileLock(lock):
        again = answers(teacher, encodings, LABELS, NONE, settings(cache))
    assert torch.equal(logits_of(again, encodings), first)


# A disk without room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


HIDDEN = frozenset({"hidden.0", "hidden.3"})


def test_too_little_room_is_told_before_anything_is_computed(
    teacher: Checkpoint, encodings: Encodings, small_disk: Path
) -> None:
    with texts_read(teacher) as passes, pytest.raises(CompressError) as caught:
        answers(teacher, encodings, LABELS, HIDDEN, settings(small_disk))
    assert not passes
    assert not contents(small_disk)
    message = str(caught.value)
    assert "No space left on device; it needs 1 MB and has 0 MB" in message
    assert message.endswith("--teacher-cache, or a smaller --cache-gb")
    assert "\n" not in message


def test_a_disk_that_fills_up_on_the_way_loses_only_what_was_being_written(
    teacher: Checkpoint, encodings: Encodings, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "_SHARD_TEXTS", 60)
    room = shutil.disk_usage(small_disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room._replace(free=10**9))
    with texts_read(teacher) as passes:
        with pytest.raises(CompressError, match="No space left on device"):
            answers(teacher, encodings, LABELS, HIDDEN, settings(small_disk))
        assert 60 < sum(passes) < unlike(encodings)
        assert not list(small_disk.rglob("*.partial"))
        passes.clear()
        answers(teacher, subset(encodings, range(60)), LABELS, HIDDEN, settings(small_disk))  # what was whole is good
        assert not passes


def test_a_file_that_cannot_grow_is_told_and_nothing_is_left(
    teacher: Checkpoint, encodings: Encodings, cache: Path
) -> None:
    with largest_file(100_000), pytest.raises(CompressError) as caught:
        answers(teacher, encodings, LABELS, HIDDEN, settings(cache))
    assert not contents(cache)
    assert f"teacher cache {cache}: File too large; it needs 1 MB" in str(caught.value)
    with largest_file(1_000), pytest.raises(CompressError) as caught:
        answers(teacher, encodings, LABELS, NONE, settings(cache))
    assert "--cache-gb" not in str(caught.value)  # logits are kept whatever it says
    assert not contents(cache)


def test_a_folder_that_cannot_be_made_is_told(teacher: Checkpoint, encodings: Encodings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CompressError, match=r"cannot be written \(Not a directory\).*--teacher-cache"):
        answers(teacher, encodings, LABELS, NONE, settings(tmp_path / "file" / "cache"))
