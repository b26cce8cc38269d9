"""What each kept result says of itself: when, where, on which model, and what else the machine did meanwhile."""

import argparse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress.folder import read_manifest
from compress.machine import describe_machine, package_versions

RESULTS = Path(__file__).parent / "results"
NOT_YET = "Not yet measured: its command is in `benchmarks/README.md`.\n"


def add_arguments(parser: argparse.ArgumentParser, file: str) -> None:
    """``--out`` and ``--beside``."""
    parser.add_argument("--out", type=Path, default=RESULTS / file)
    parser.add_argument("--beside", help="what else runs on the machine, kept with the figures")


def about(model: Path, threads: list[int], beside: str | None, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The first fields of a result; ``packages`` are those that count beside the usual ones."""
    machine = describe_machine(threads)
    machine["versions"] |= package_versions(packages)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "beside": beside,
        "model": read_manifest(model).digest,
    }


def rows(lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; the first line has the heads, and all columns but the first are numbers."""
    heads, *others = ([*line] for line in lines)
    ruled = [heads, ["---", *["--:"] * (len(heads) - 1)], *others]
    return "".join(f"| {' | '.join(line)} |\n" for line in ruled)


def conditions(document: Mapping[str, Any]) -> str:
    """The line below a table."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    beside = f", beside {document['beside']}" if document.get("beside") else ""
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return f"\n{machine['cpu']}, {cores}{beside}; {versions}.\n"
