"""The package's face: every public name resolves and says what it does, and everything ships."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import compress
from compress import config

PACKAGE = Path(compress.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT = PACKAGE.parent / "pyproject.toml"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_definitions(path: Path) -> Iterator[Definition]:
    for node in parsed(path).body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("name", ["compress", "compress.data"])
def test_every_exported_name_resolves(name: str) -> None:
    package = import_module(name)
    names = package.__all__
    assert names == sorted(names)
    for exported in names:
        assert getattr(package, exported) is not None


def test_the_interfaces_names_are_exported() -> None:
    promised = {"load", "errors", "finetune", "distill", "prune", "export", "quantize", "bench", "run"}
    assert promised <= set(compress.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(compress, "no_such_name")  # noqa: B009 - the point of the test


def test_rooms_are_modules_and_steps_are_functions() -> None:
    """No room bears the name of a public function, so importing one never hides the other."""
    import compress.benchmark
    import compress.graph

    assert inspect.ismodule(compress.benchmark)
    assert inspect.ismodule(compress.graph)
    for name in ("finetune", "distill", "prune", "export", "quantize", "bench", "run", "load"):
        assert inspect.isfunction(getattr(compress, name)), name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_things_have_docstrings(path: Path) -> None:
    module = parsed(path)
    nameless = [node.name for node in public_definitions(path) if not ast.get_docstring(node)]
    assert not nameless
    assert ast.get_docstring(module) or not module.body


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_name_arguments_and_attributes_that_exist(path: Path) -> None:
    for node in public_definitions(path):
        documented = set(_entries(ast.get_docstring(node) or "", "Args")) | set(
            _entries(ast.get_docstring(node) or "", "Attributes")
        )
        assert documented <= _known_names(node), node.name


def _entries(docstring: str, section: str) -> list[str]:
    found = re.search(rf"^{section}:\n((?: +.*\n?|\n)+)", docstring, re.MULTILINE)
    return re.findall(r"^    \**(\w+):", found.group(1), re.MULTILINE) if found else []


def _known_names(node: ast.AST) -> set[str]:
    arguments = {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
    fields = {
        one.target.id for one in ast.walk(node) if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    return arguments | fields


def test_every_setting_says_what_it_is() -> None:
    groups = [group for group in vars(config).values() if inspect.isclass(group) and issubclass(group, config.Settings)]
    assert len(groups) > 6
    for group in groups:
        for name, field in group.model_fields.items():
            assert field.description, f"{group.__name__}.{name}"
            assert not field.description.endswith("."), f"{group.__name__}.{name}"


def test_every_file_of_the_package_ships() -> None:
    assert (PACKAGE / "py.typed").is_file()
    patterns = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["compress"]
    shipped = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert others <= shipped
    for pattern in patterns:
        assert list(PACKAGE.glob(pattern)), f"{pattern} matches nothing"


def test_the_version_is_one() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    assert project["version"] == compress.__version__
    changes = (PYPROJECT.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\S+)\] - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == compress.__version__
