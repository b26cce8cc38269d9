"""A dry run plans and writes nothing, so an output folder that exists is no reason to refuse it."""

from pathlib import Path
from typing import Any

import pytest

import compress
from compress.errors import CompressError
from compress.folder import digest_tree

SETTINGS: dict[str, Any] = {"speedup": 1.3, "samples": 32, "threads": 1}


def test_a_dry_run_leaves_an_existing_out_as_it_is(tiny_torch: Path, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for folder in (out, tmp_path / ".out.unfinished"):  # the second holds the checkpoints of a killed step
        folder.mkdir()
        (folder / "thesis.tex").write_text("years of work", encoding="utf-8")
    before = digest_tree(tmp_path)
    result = compress.prune(tiny_torch, tiny_data, out, dry_run=True, **SETTINGS)
    assert not result.written
    assert result.metrics["speedup"] >= 1.3
    assert digest_tree(tmp_path) == before
    with pytest.raises(CompressError, match="exists; choose another"):
        compress.prune(tiny_torch, tiny_data, out, **SETTINGS)
