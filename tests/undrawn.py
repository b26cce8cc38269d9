"""Reports whose charts are not drawn: drawing takes most of a report's time, a second or two."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


def leave_charts_out(patch: pytest.MonkeyPatch) -> None:
    """For tests of what else a report says; tests/benchmark has those of the charts."""
    renderer = ModuleType("vl_convert")
    renderer.__spec__ = ModuleSpec("vl_convert", None)
    renderer.vegalite_to_svg = lambda _: "<svg></svg>"  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "vl_convert", renderer)
