"""No change to a file of a finished folder or cache goes unnoticed; all of it: ``python -m tests.tamper``."""

from pathlib import Path

from tests.tamper import missed


def test_no_change_is_missed(tmp_path: Path) -> None:
    found = missed(100, 0, tmp_path)
    assert found == {kind: (tried, []) for kind, (tried, _) in found.items()}
    assert found.keys() == {"torch", "onnx", "int8", "single file", "cascade", "cache"}
