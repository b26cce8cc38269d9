"""Model folders: manifests, digests, and folders that come to exist whole or not at all."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import compress
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, digest_tree, read_manifest, write_manifest
from compress.locks import _say_unlocked
from compress.modeling.model_folder import check_place
from compress.new_folder import OUR_MARKS, _beside, check_outside, new_folder, unfinished
from compress.progress import say
from compress.recipes.run import digest_source
from compress.replacement import set_aside

OURS = json.dumps({"format_version": 1, "files": []})
FILES = {"config.json": "{}", "onnx/model.onnx": "graph", "vocab.txt": "[PAD]\n"}
MANIFEST_OF_TWO = Manifest("onnx", "pair_multi_label", ("b", "a", "ü"), 64, 1234, ({"step": "finetune", "seed": 3},))


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = write_manifest(make(tmp_path, FILES), MANIFEST_OF_TWO)
    read = read_manifest(tmp_path)
    assert read == written
    assert (read.kind, read.task, read.labels, read.max_length) == ("onnx", "pair_multi_label", ("b", "a", "ü"), 64)
    assert read.history == ({"step": "finetune", "seed": 3},)
    assert sorted(file.name for file in read.files) == sorted(FILES)
    assert {file.name: file.bytes for file in read.files} == {name: len(text) for name, text in FILES.items()}


@pytest.mark.parametrize("digest", ["manifest", "tree"])
@pytest.mark.parametrize("name", FILES)
def test_the_digest_knows_every_content_and_every_name(tmp_path: Path, name: str, digest: str) -> None:
    def digest_of(folder: Path) -> str:
        return write_manifest(folder, MANIFEST_OF_TWO).digest if digest == "manifest" else digest_tree(folder)

    renamed = {("renamed" if known == name else known): text for known, text in FILES.items()}
    others = [FILES | {name: FILES[name] + " "}, renamed, FILES | {"more": ""}]
    found = [digest_of(make(tmp_path / str(number), files)) for number, files in enumerate([FILES, *others])]
    assert len(set(found)) == len(found)


def test_the_digest_does_not_depend_on_the_order_in_which_files_were_written(tmp_path: Path) -> None:
    forwards, backwards = make(tmp_path / "a", FILES), make(tmp_path / "b", dict(reversed(FILES.items())))
    assert digest_tree(forwards) == digest_tree(backwards)
    manifest = write_manifest(forwards, MANIFEST_OF_TWO)
    assert manifest.digest == write_manifest(backwards, MANIFEST_OF_TWO).digest
    turned = Manifest(**{**vars(manifest), "files": tuple(reversed(manifest.files))})
    assert turned.digest == manifest.digest


def test_files_that_differ_only_in_where_they_are_cut_differ_in_digest(tmp_path: Path) -> None:
    one, other = make(tmp_path / "a", {"a": "xy", "b": ""}), make(tmp_path / "b", {"a": "x", "b": "y"})
    assert digest_tree(one) != digest_tree(other)


def test_a_new_folder_takes_its_name_at_the_end_only(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as partial:
        make(partial, FILES)
        assert not out.exists()
    assert digest_tree(out) == digest_tree(make(tmp_path / "same", FILES))
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, CompressError, OSError, SystemExit])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "out") as partial:
        make(partial, FILES)
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_while_overwriting_leaves_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    out = make(tmp_path / "out", FILES | {MANIFEST: OURS})
    before = digest_tree(out)
    with pytest.raises(error), new_folder(out, overwrite=True) as partial:
        make(partial, {"new": "new"})
        raise error
    assert digest_tree(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    out = make(tmp_path / "out", FILES | {MANIFEST: OURS})
    before = digest_tree(out)
    with new_folder(out, overwrite=True) as partial:
        make(partial, {"new": "new"})
        assert digest_tree(out) == before  # until the end the old one is there, whole
    assert [path.name for path in out.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_swap_gives_the_old_folder_back(tmp_path: Path) -> None:
    out = make(tmp_path / "out", FILES | {MANIFEST: OURS})
    before = digest_tree(out)
    with pytest.raises(CompressError, match="cannot be written"), new_folder(out, overwrite=True) as partial:
        shutil.rmtree(partial)  # the rename that is to come cannot work
    assert digest_tree(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_an_out_that_appears_meanwhile_is_not_destroyed(tmp_path: Path) -> None:
    """Two processes with one --out: the second to finish must not take the first one's work away."""
    out = tmp_path / "out"
    with pytest.raises(CompressError, match="exists"), new_folder(out) as partial:
        make(partial, {"mine": ""})
        make(out, {"theirs": ""})
    assert [path.name for path in out.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("mark", OUR_MARKS)
def test_folders_of_ours_are_overwritten(tmp_path: Path, mark: str) -> None:
    out = make(tmp_path / "out", {"old": "", mark: json.dumps(dict.fromkeys(OUR_MARKS[mark], ""))})
    with new_folder(out, overwrite=True):
        pass
    assert not (out / "old").exists()


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", '{"accuracy": 0.9}'])
@pytest.mark.parametrize("mark", OUR_MARKS)
def test_a_file_of_a_common_name_makes_no_folder_ours(tmp_path: Path, mark: str, content: str) -> None:
    out = make(tmp_path / "out", {"thesis.tex": "years of work", mark: content})
    with pytest.raises(CompressError, match="not made by compress"), new_folder(out, overwrite=True):
        pass
    assert (out / "thesis.tex").is_file()


def test_parents_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "new" / "deep" / "out"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "new" / "deep" / "out"):
        pass
    assert (tmp_path / "new" / "deep" / "out").is_dir()


def test_out_may_not_hold_an_input(tmp_path: Path) -> None:
    out = make(tmp_path / "out", {MANIFEST: OURS, "data/train.csv": ""})
    for source in (out, out / "data", out / "data" / "train.csv", out / ".." / "out" / "data"):
        with pytest.raises(CompressError, match="holds the input"), new_folder(out, overwrite=True, inputs=(source,)):
            pass
    assert (out / "data" / "train.csv").is_file()


@pytest.fixture
def two_names(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """One folder, a model of ours, by two names that no link joins."""
    folder = make(tmp_path / "out", {MANIFEST: OURS, "data/train.csv": ""})
    again = tmp_path / "again"
    again.mkdir()
    if subprocess.run(["mount", "--bind", folder, again], check=False, capture_output=True).returncode:
        pytest.skip("may not mount a folder here")
    yield folder, again
    subprocess.run(["umount", "--lazy", again], check=True)


def test_a_folder_is_known_by_any_of_its_names(two_names: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out, again = two_names
    for source in (again, again / "data", again / "data" / "train.csv"):
        with pytest.raises(CompressError, match="holds the input"), new_folder(out, overwrite=True, inputs=(source,)):
            pass
    with pytest.raises(CompressError, match="lies in the model's folder"):
        check_outside(again / "data" / "new" / "run", [out / "data"])
    monkeypatch.chdir(again / "data")
    with pytest.raises(CompressError, match="holds the folder that this"), new_folder(out, overwrite=True):
        pass
    assert (out / "data" / "train.csv").is_file()


@pytest.mark.parametrize("name", [".", "", "..", "../here"])
def test_out_may_not_be_where_the_command_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(CompressError, match="holds the folder that this command runs in"), new_folder(Path(name)):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_what_a_dead_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for left in (".out.partial", ".out.old", ".out.old.removed", ".out.unfinished.removed"):
        make(tmp_path / left, FILES)
    (tmp_path / ".out.lock").touch()
    make(tmp_path / "out", {MANIFEST: OURS})
    kept = {".another.partial", ".out.notes.partial", ".out.old.partial", ".out.6-7.partial"}
    for other in kept:
        make(tmp_path / other, FILES)
    with new_folder(tmp_path / "out", overwrite=True):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"out", *kept}


def test_no_two_names_share_a_hidden_path(tmp_path: Path) -> None:
    names = ("m", "m.old", "m.lock", "m.partial", "m.unfinished", "m.removed", ".m")
    hidden = [
        path
        for out in (tmp_path / name for name in names)
        for path in (
            *(_beside(out, what) for what in ("lock", "partial", "old.removed", "unfinished.removed")),
            unfinished(out),
        )
    ] + [set_aside(tmp_path / name) for name in names]
    assert len(set(hidden)) == len(hidden)


def test_a_folder_set_aside_survives_a_step_whose_out_is_named_after_it(tmp_path: Path) -> None:
    make(set_aside(tmp_path / "m"), FILES | {MANIFEST: OURS})
    with new_folder(tmp_path / "m.old") as partial:
        make(partial, {"other": ""})
        with pytest.raises(CompressError, match="exists"), new_folder(tmp_path / "m"):
            pass
    assert {path.name: sorted(part.name for part in path.iterdir()) for path in tmp_path.iterdir()} == {
        "m": sorted({name.split("/")[0] for name in FILES} | {MANIFEST}),
        "m.old": ["other"],
    }


WRITER = """
import sys, time
from pathlib import Path
from compress.new_folder import new_folder
with new_folder(Path(sys.argv[1])) as partial:
    (partial / "file").touch()
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_living_process_writes_stays_until_it_dies(tmp_path: Path) -> None:
    """Its number means nothing: in another container it is another's. The kernel knows who holds the lock."""
    out, unfinished = tmp_path / "out", make(tmp_path / ".out.unfinished", {"step-1/state": ""})
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    with pytest.raises(CompressError, match=r"another process is writing it and holds .*\.out\.lock"), new_folder(out):
        pass
    assert (tmp_path / ".out.partial" / "file").is_file()
    writer.kill()
    writer.communicate()
    with new_folder(out) as partial:
        assert list(partial.iterdir()) == []
        assert unfinished.is_dir()  # a training goes on from there
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_once_and_written(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    _say_unlocked.cache_clear()
    for name in ("a", "b"):
        with new_folder(tmp_path / name):
            say("working")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert capsys.readouterr().err.count("has no locks") == 1


def test_what_is_set_aside_goes_only_when_nothing_is_refused(tmp_path: Path) -> None:
    """The folder that is there may be somebody else's, put there after a kill between the two renames."""
    out, old = make(tmp_path / "out", FILES), make(tmp_path / ".out.old", FILES | {MANIFEST: OURS})
    for overwrite in (False, True):
        with pytest.raises(CompressError, match=r"exists|not made by"), new_folder(out, overwrite=overwrite):
            pass
        assert (old / MANIFEST).is_file()
    make(out, {MANIFEST: OURS})
    with new_folder(out, overwrite=True):
        assert not old.exists()
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_kill_between_the_two_renames_left_comes_back(tmp_path: Path) -> None:
    """A process that died after it moved the old folder aside and before the new one had its name loses neither."""
    old = make(tmp_path / ".out.old", FILES | {MANIFEST: OURS})
    before = digest_tree(old)
    with pytest.raises(CompressError, match="exists"), new_folder(tmp_path / "out"):
        pass
    assert digest_tree(tmp_path / "out") == before
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize("use", [
    compress.load,
    lambda name: compress.export(name, "out"),
    lambda name: compress.export("model", name),
    lambda name: read_dataset(DataConfig(data=name)),
    digest_source,
])  # fmt: skip
def test_a_home_folder_of_nobody_is_told(
    use: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompressError, match="~nobody-here/x: there is no such user's home folder"):
        use("~nobody-here/x")
    assert list(tmp_path.iterdir()) == []


def test_given_the_folder_of_a_search_the_refusal_says_where_the_model_is(tmp_path: Path) -> None:
    make(tmp_path / "search", {"search.json": "{}", "best/config.json": "{}"})
    for read in (read_manifest, check_place):
        with pytest.raises(CompressError, match=rf"not a model folder.*; give {re.escape(str(tmp_path))}/search/best$"):
            read(tmp_path / "search")
