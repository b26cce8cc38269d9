"""What is taken for an id of the hub, and what for a path."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress.errors import CompressError
from compress.paths import local_path, may_be_hub_id

NAME = st.tuples(st.sampled_from("aZ9_-"), st.text("aZ9._-", max_size=9)).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(owner=NAME, name=NAME)
def test_a_hub_id_is_a_name_or_two_of_which_nothing_is_here(
    owner: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert may_be_hub_id(name)
    assert may_be_hub_id(f"{owner}/{name}")
    for path in (
        f"/{name}",
        f"./{name}",
        f"../{name}",
        f"~/{name}",
        f"{owner}\\{name}",
        f"{name}/",
        f"a/{owner}/{name}",
    ):
        assert not may_be_hub_id(path)
    Path(owner).mkdir()
    assert not may_be_hub_id(owner)
    assert not may_be_hub_id(f"{owner}/{name}")
    Path(owner).rmdir()


def test_an_empty_name_is_no_path() -> None:
    """As a variable of the shell that is not set; Python would take it for the folder that it runs in."""
    with pytest.raises(CompressError, match=r"^--data '': no file can have this name"):
        local_path("", "--data")


@pytest.mark.parametrize(("given", "got"), [(None, "None"), (b"runs", "a bytes"), ({}, "a dict"), (3, "an int")])
def test_what_is_no_path_is_refused(given: Any, got: str) -> None:
    with pytest.raises(CompressError, match=rf"^give a path or hub id, got {got}$"):
        local_path(given)
    with pytest.raises(CompressError, match=rf"^--out: give a path, got {got}$"):
        local_path(given, "--out")


@pytest.mark.parametrize("inner", [".", "model", "model/config.json"])
def test_a_folder_that_may_not_be_entered_is_refused(inner: str, tmp_path: Path) -> None:
    """In a process that is not root's, which may enter any."""
    tmp_path.chmod(0o711)
    for name, mode in (("private", 0o600), ("public", 0o711)):
        (tmp_path / name).mkdir(mode=mode)
    if (child := os.fork()) == 0:
        os.chdir(tmp_path)  # whose own parents may be root's alone
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            local_path(Path("public") / inner, "--out")
            local_path(Path("private") / inner, "--out")
        except CompressError as error:
            said = str(error)
            os._exit(0 if said.startswith("--out private") and "Permission denied; give this user" in said else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
