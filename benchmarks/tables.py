"""Writes the tables of README and docs from the results and the code that back them; ``--check`` only says whether
they are stale.

python -m benchmarks.tables [--check]
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import beside, distillation, families, long_texts, pruning, reference
from benchmarks.gpu.table import table as gpu_table
from compress.benchmark.report.page import as_markdown

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").rglob("*.md")))
PLOT = ROOT / "docs" / "headline.svg"
RESULTS = ROOT / "benchmarks" / "results"
_HEADLINE = RESULTS / "demo.json"
# What is measured data set by data set has a file for each in a folder of its own.
_BY_DATA_SET = {"distillation": distillation.table, "pruning": pruning.table}
_BESIDE = {"graphs": beside.graphs, "throughput_peers": beside.bulk, "textbrewer": beside.distillation}
# Not measured yet, or on a machine that is seldom at hand.
_PERHAPS: dict[str, Callable[[Any], str]] = {"gpu": gpu_table, "long_texts": long_texts.table}
_FROM_CODE: dict[str, Callable[[], str]] = {
    "families": families.table,
    "commands": reference.commands,
    "python": reference.python,
}
_MARKED = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# The report's colours on white: an image has no style sheet to take them from.
_COLOURS = {"ink": "#1c1d1f", "quiet": "#66686c", "track": "#dededa", "accent": "#0b6e5f"}


def with_tables(text: str) -> str:
    """``text`` with what stands between each pair of marks made anew from ``benchmarks/results`` or the code."""
    return _MARKED.sub(lambda marked: marked[1] + table(marked["name"]) + marked[3], text)


def table(name: str) -> str:
    """A bench's results ``NAME.json``, those of the data sets in and below the folder ``NAME``, or from the code."""
    if name in _BY_DATA_SET:
        found = {path: _read(path) for path in sorted((RESULTS / name).rglob("*.json"))}
        return _BY_DATA_SET[name](found) + "\n"
    if name in _BESIDE:
        return _BESIDE[name](_read(RESULTS / f"{name}.json"))
    if name in _FROM_CODE:
        return _FROM_CODE[name]()
    if name in _PERHAPS:
        file = RESULTS / f"{name}.json"
        return _PERHAPS[name](_read(file) if file.is_file() else None)
    return as_markdown(_read(RESULTS / f"{name}.json"))


def plot() -> str:
    """The headline's accuracy against latency as the report draws it; the last line says of which results it is."""
    from compress.benchmark.report.scatter import scatter

    results = _read(_HEADLINE)
    svg = scatter(results["models"], results["recommendation"]["name"], width=640, height=300)
    for name, colour in _COLOURS.items():
        svg = svg.replace(f"var(--{name})", colour)
    svg = svg.replace("<svg ", '<svg style="background:#ffffff" ', 1)
    return f"{svg}\n{source_of_plot()}\n"


def source_of_plot() -> str:
    """The results that the plot is of, by content: renderers draw the same ones a little differently."""
    digest = hashlib.sha256(_HEADLINE.read_bytes()).hexdigest()
    return f"<!-- {_HEADLINE.relative_to(ROOT).as_posix()} {digest} -->"


def stale() -> dict[Path, str]:
    """The documents that no longer say what their results and the code say, with what they should hold."""
    found = {path: with_tables(path.read_text(encoding="utf-8")) for path in DOCUMENTS}
    differing = {path: text for path, text in found.items() if text != path.read_text(encoding="utf-8")}
    if not PLOT.is_file() or source_of_plot() not in PLOT.read_text(encoding="utf-8"):
        differing[PLOT] = plot()
    return differing


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> int:
    """Returns 1 where ``--check`` finds a stale document."""
    differing = stale()
    if "--check" in sys.argv[1:]:
        names = ", ".join(path.relative_to(ROOT).as_posix() for path in differing)
        print(f"stale: {names}; run make tables" if differing else "the tables are as their results say")
        return int(bool(differing))
    for path, text in differing.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
