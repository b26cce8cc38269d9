"""One round of ``python -m tests.rounds``, and how it judges."""

import json
from pathlib import Path

import pytest

from tests.processes import start_module
from tests.rounds.__main__ import summary
from tests.rounds.children import Ended, can_contain
from tests.rounds.played import disturbed, other_files

REFUSAL = "another run is writing there"


@pytest.mark.skipif(not can_contain(), reason="needs the right to make process numbers")
def test_containers_that_share_a_volume_keep_each_others_work(tmp_path: Path) -> None:
    kind = "two containers, one folder"
    (tmp_path / "place").mkdir()
    command = ["tests.rounds.played", str(tmp_path / "place"), "1", "inf", "0", kind]
    played = start_module(command, tmp_path / "told", printed=tmp_path / "said")
    played.join()
    assert played.exitcode == 0, (tmp_path / "told").read_text()
    found = summary(map(json.loads, (tmp_path / "said").read_text().splitlines()))
    assert found == {"played": {kind: 1}, "rounds": 1, "wrong": 0, "problems": []}


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    done, refused, crashed = Ended(0, ""), Ended(2, f"compress: {REFUSAL}\n"), Ended(1, "Traceback\n")
    assert disturbed([done, refused], REFUSAL) is None
    assert disturbed([done, done], None) is None
    assert disturbed([done, refused], None) is not None
    assert disturbed([refused, refused], REFUSAL) == "none ended well"
    assert disturbed([done, crashed], REFUSAL) == "ended with 1, and said: Traceback\n"
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    assert other_files(tmp_path / "one", tmp_path / "one") is None
    assert other_files(tmp_path / "one", tmp_path / "other") == "other files than alone: file"
