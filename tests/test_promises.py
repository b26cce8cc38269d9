"""Every promise names a test, and that test is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


def test_the_named_tests_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 15
    for file, name in named:
        assert (ROOT / file).is_file(), file
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)


def test_every_promise_names_one() -> None:
    promised = PAGE.partition("## What is not")[0]
    for promise in re.findall(r"^- (.+?)(?=^- |^#|\Z)", promised, flags=re.DOTALL | re.MULTILINE):
        assert "::" in promise, promise
