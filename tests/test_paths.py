"""What is taken for an id of the hub, and what for a path."""

from pathlib import Path

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
