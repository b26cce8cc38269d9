"""Exports are compared with PyTorch over all batches here, as for users."""

import pytest

from compress.graph import checks

WHOLE = {name: getattr(checks, name) for name in ("BATCHES", "LENGTHS")}  # read before the session makes them fewer


@pytest.fixture(autouse=True)
def all_parity_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, whole in WHOLE.items():
        monkeypatch.setattr(checks, name, whole)
