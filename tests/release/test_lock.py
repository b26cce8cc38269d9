"""The demo's lock has every requirement of the demo, at versions that they and constraints.txt allow, by one hash."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from compress.machine import EXTRAS

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "release" / "demo.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pinned(text: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def requirements(extra: str) -> Iterator[Requirement]:
    """Those of an extra, and of the extras of ours that it names."""
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                yield from requirements(other)
        else:
            yield requirement


def test_every_requirement_of_the_demo_is_locked_at_a_version_that_it_allows() -> None:
    locked = pinned(LOCK)
    needed = [*map(Requirement, PROJECT["dependencies"]), *requirements("demo")]
    assert len(needed) > 15
    for requirement in needed:
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, requirement
        assert version in requirement.specifier, requirement


def test_every_requirement_of_the_tests_is_pinned() -> None:
    tested = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert {canonicalize_name(requirement.name) for requirement in requirements("dev")} <= tested.keys()


def test_the_list_by_which_a_lacking_extra_is_told_has_all_its_packages() -> None:
    distributions = packages_distributions()
    listed = {canonicalize_name(name) for package in chain(*EXTRAS.values()) for name in distributions[package]}
    required = {canonicalize_name(requirement.name) for extra in EXTRAS for requirement in requirements(extra)}
    assert required - listed == {"httptools", "uvloop"}, "uvicorn looks for these itself, and does without"


def test_locked_versions_are_those_that_the_tests_run_with() -> None:
    tested = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    locked = pinned(LOCK)
    assert {name: version for name, version in locked.items() if name in tested} == {
        name: tested[name] for name in locked.keys() & tested.keys()
    }
    assert locked.keys() - tested.keys() <= {"setuptools"}, "constraints.txt does not name them"


def test_every_line_is_one_wheel_by_its_hash() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line)] == []
    assert len(pinned(LOCK)) == len(lines) > 50
