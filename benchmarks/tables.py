"""Writes the README's result tables from the results that back them; ``--check`` only says whether they are stale.

python -m benchmarks.tables [--check]
"""

import json
import re
import sys
from pathlib import Path

from compress.bench.markdown import as_markdown

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
_MARKED = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """``text`` with what stands between each pair of marks made anew from ``benchmarks/results/NAME.json``."""

    def table(marked: re.Match[str]) -> str:
        results = json.loads((ROOT / "benchmarks" / "results" / f"{marked['name']}.json").read_text(encoding="utf-8"))
        return marked[1] + as_markdown(results) + marked[3]

    return _MARKED.sub(table, text)


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
