"""The workflow calls targets that the Makefile has."""

import re

import yaml

from tests.release.test_lock import ROOT


def test_every_target_of_the_workflow_is_in_the_makefile() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    named = set(re.findall(r'"([\w-]+)"', workflow["jobs"]["make"]["strategy"]["matrix"]["target"]))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"lint", "test", "docs", "audit", "dist"} <= named
    assert named <= targets
