"""Writes the tables of README and docs from the results and the code that back them; ``--check`` only says whether
they are stale.

python -m benchmarks.tables [--check]
"""

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import (
    ablation_table,
    attacks,
    beside,
    cascade,
    catalogue,
    clusters,
    cold_start,
    container,
    distillation,
    families,
    long_texts,
    promise,
    pruning,
    reference,
    resident,
    scaling,
    serving,
    together_table,
)
from benchmarks.gpu.table import table as gpu_table
from benchmarks.kept import NOT_YET, RESULTS, read
from benchmarks.models.table import README as MODELS_README
from benchmarks.models.table import data_sets
from benchmarks.models.table import table as models
from benchmarks.peers import table as peers
from compress.benchmark.report.page import as_markdown
from compress.benchmark.report.recommend import recommend, split_of
from compress.evaluation.comparison import paired_interval

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").rglob("*.md")))
# Not pages of the site: the lists of all benchmarks and of all models are made like the pages' tables.
GENERATED = (*DOCUMENTS, ROOT / "benchmarks" / "README.md", MODELS_README)
# What is measured data set by data set has a file for each in a folder of its own.
_BY_DATA_SET = {"cascade": cascade.table, "distillation": distillation.table, "pruning": pruning.table}
_FROM_CODE: dict[str, Callable[[], str]] = {
    "attacks": attacks.table,
    "catalogue": catalogue.table,
    "families": families.table,
    "models": models,
    "commands": reference.commands,
    "data-sets": data_sets,
    "python": reference.python,
}
# From a result of that name; where a checkout has none, that stands in its place.
_OF_RESULT: dict[str, Callable[[Any], str]] = {
    "graphs": beside.graphs,
    "family_speed": beside.families,
    "throughput_peers": beside.bulk,
    "textbrewer": beside.distillation,
    "gpu": gpu_table,
    "peers": peers.table,
    "scaling": scaling.table,
    "long_texts": long_texts.table,
    "together": together_table.table,
    "ablation": ablation_table.table,
    "container": container.table,
    "promise": promise.table,
    "clusters": clusters.table,
    "cold_start": cold_start.table,
    "resident": resident.table,
    "serving": serving.table,
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
        found = {path: read(path) for path in sorted((RESULTS / name).rglob("*.json"))}
        return _BY_DATA_SET[name](found)
    if name in _FROM_CODE:
        return _FROM_CODE[name]()
    path = next(RESULTS.glob(f"{name}.json*"), None)
    if path is None:
        return NOT_YET
    return _OF_RESULT[name](read(path)) if name in _OF_RESULT else report_of_today(read(path))


def report_of_today(results: Any) -> str:
    """A bench's report in Markdown; where it is from before today's method for intervals, with those of today."""
    first, *others = results["models"]
    models = [first, *(_with_interval(entry, first) for entry in others)]
    before, after = ([each["versus_first"]["ci95"] for each in entries[1:]] for entries in (results["models"], models))
    if np.allclose(before, after, rtol=0, atol=1e-9):
        return as_markdown(results)
    chosen = asdict(recommend(models, results.get("balance"), split_of(results)))
    text = as_markdown({**results, "models": models, "recommendation": chosen})
    return f"{text}\nThe intervals of points are by today's method, from the counts that the result keeps.\n"


def _with_interval(entry: Any, first: Any) -> Any:
    """With the interval of its change of accuracy made from its flips, where a result keeps these."""
    if "flips" not in entry or entry["accuracy"]["metric"] != "accuracy":
        return entry
    n, lost, won = first["accuracy"]["n"], entry["flips"]["became_wrong"], entry["flips"]["became_right"]
    both = round(n * first["accuracy"]["value"]) - lost
    counts = [both, lost, won, n - both - lost - won]
    right = (np.repeat(answers, counts) for answers in ([True, True, False, False], [True, False, True, False]))
    return entry | {"versus_first": entry["versus_first"] | {"ci95": [*paired_interval(*right)]}}


def headline_plot(results: Any) -> str:
    """The demo's accuracy against latency, as the report draws it."""
    return _scatter(results["models"], results["recommendation"]["name"])


def peers_plot(results: Any) -> str:
    """The same of other tools beside ours."""
    return _scatter(*peers.entries(results))


def _scatter(entries: Any, chosen: str) -> str:
    from compress.benchmark.report.scatter import scatter

    return scatter(entries, chosen, width=640, height=300)


PLOTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "headline.svg": ("demo.json", headline_plot),
    "peers.svg": ("peers.json", peers_plot),
    "scaling.svg": ("scaling.json", scaling.plot),
}


def plots() -> dict[Path, str]:
    """The plots whose results are kept and that are not of them: renderers draw the same ones a little differently."""
    found = {}
    for name, (results, draw) in PLOTS.items():
        path, kept = ROOT / "docs" / name, RESULTS / results
        if kept.is_file() and not (path.is_file() and source_of_plot(kept) in path.read_text(encoding="utf-8")):
            found[path] = f"{_on_white(draw(read(kept)))}\n{source_of_plot(kept)}\n"
    return found


def _on_white(svg: str) -> str:
    for name, colour in _COLOURS.items():
        svg = svg.replace(f"var(--{name})", colour)
    return svg.replace("<svg ", '<svg style="background:#ffffff" ', 1)


def source_of_plot(results: Path) -> str:
    """The last line of a plot says of which results it is, by content."""
    digest = hashlib.sha256(results.read_bytes()).hexdigest()
    return f"<!-- {results.relative_to(ROOT).as_posix()} {digest} -->"


def stale() -> dict[Path, str]:
    """The documents that no longer say what their results and the code say, with what they should hold."""
    found = {path: with_tables(path.read_text(encoding="utf-8")) for path in GENERATED}
    return {path: text for path, text in found.items() if text != path.read_text(encoding="utf-8")} | plots()


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
