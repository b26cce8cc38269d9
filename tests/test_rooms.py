"""The rooms stand on floors: a room imports those below it and none above, also inside functions. So no circle."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import compress

PACKAGE = Path(compress.__file__).parent

# From the ground up. A room may import what stands before it; a folder inside a room is a room of its own.
FLOORS = (
    *("version", "errors", "clock", "formatting", "templates", "task"),
    *("limits", "paths", "progress", "machine", "durable", "locks"),
    *("manifest_entries", "folder", "replacement", "new_folder", "demo_assets"),
    "config",
    "runtime",
    "serving",
    "data",
    "bulk",
    "evaluation",
    *("families.tokenizers", "families"),
    "modeling",
    "graph",
    "quantization",
    "packaging",
    "workers",
    "latency",
    "training",
    *("distillation.teacher_cache", "distillation"),
    "pruning",
    *("benchmark.backends", "benchmark.report", "benchmark"),
    "decisions",
    "steps",
    "recipes",
    "tuning",
    "doctor",
    "cli",
    *("__init__", "__main__"),
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """The innermost room that holds ``module``, named from the package's root."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in FLOORS), module)


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Every module of ours that ``path`` imports, at its top, in a function or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "compress")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "compress":
            for alias in node.names:
                inner = PACKAGE.joinpath(*node.module.split(".")[1:], alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def test_every_file_stands_in_a_room() -> None:
    assert {room_of(module_of(path)) for path in MODULES} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_import_runs_up(path: Path) -> None:
    own = FLOORS.index(room_of(module_of(path)))
    rooms = {room_of(name.removeprefix("compress").removeprefix(".") or "__init__") for name in imported(path)}
    above = {room for room in rooms if FLOORS.index(room) > own}
    assert not above, f"{module_of(path)} stands below {', '.join(sorted(above))}"


def test_contributing_shows_the_rooms_in_their_order_and_where_to_begin() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = []
    for names, first in re.findall(r"^\| ((?:`[\w/]+` ?)+)\|[^|]*\| `([\w.]+)`", text, re.MULTILINE):
        rooms = [name.rstrip("/") for name in re.findall(r"`([\w/]+)`", names)]
        shown += rooms
        assert any((PACKAGE / folder / first).is_file() for folder in ("", *rooms)), f"{rooms}: no {first}"
    assert shown == [room for room in FLOORS if "." not in room and not room.startswith("__")]
