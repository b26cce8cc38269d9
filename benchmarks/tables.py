"""Writes the README's result tables from the results that back them; ``--check`` only says whether they are stale.

python -m benchmarks.tables [--check]
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import distillation, families, pruning
from benchmarks.gpu.table import table as gpu_table
from compress.benchmark.report.page import as_markdown

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
# What is measured data set by data set has a file for each in a folder of its own.
_BY_DATA_SET = {"distillation": distillation.table, "pruning": pruning.table}
_MARKED = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """``text`` with what stands between each pair of marks made anew from ``benchmarks/results``."""
    return _MARKED.sub(lambda marked: marked[1] + table(marked["name"]) + marked[3], text)


def table(name: str) -> str:
    """A bench's results ``NAME.json``, those of the data sets in and below the folder ``NAME``, or the families."""
    if name in _BY_DATA_SET:
        found = {path: _read(path) for path in sorted((RESULTS / name).rglob("*.json"))}
        return _BY_DATA_SET[name](found) + "\n"
    if name == "families":
        return families.table()
    if name == "gpu":  # a machine with one is seldom at hand
        return gpu_table(_read(RESULTS / "gpu.json") if (RESULTS / "gpu.json").is_file() else None)
    return as_markdown(_read(RESULTS / f"{name}.json"))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> int:
    """Returns 1 where ``--check`` finds a stale table."""
    old = README.read_text(encoding="utf-8")
    new = with_tables(old)
    if "--check" in sys.argv[1:]:
        print("the README's tables are " + ("as their results say" if new == old else "stale: run make tables"))
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
