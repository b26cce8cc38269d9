"""auto, from the goals to what it leaves."""

from pathlib import Path

import pytest

import compress


@pytest.fixture(scope="module")
def found(tiny_torch: Path, tiny_data: Path) -> Path:
    out = Path("/tmp/auto_tiny/out")
    compress.auto(tiny_torch, tiny_data, out, max_drop=5.0, threads=1, overwrite=True)
    return out


def test_whole(found: Path) -> None:
    assert found.exists()
