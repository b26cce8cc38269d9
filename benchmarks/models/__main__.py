"""The models in ``models/``: put one in, make each again and compare, write their table.

    python -m benchmarks.models publish SEARCH NAME --data DATA [--model MODEL] [--report REPORT]
    python -m benchmarks.models check [NAME...] [--data FOLDER]
    python -m benchmarks.models table

``publish`` copies what ``compress auto`` found in the folder SEARCH to ``models/NAME``: its model where that is at
most 8 MB, the recipe that makes it, its figures on the test texts, its card. ``check`` makes each again by its recipe:
on the same machine with the same packages byte for byte, else with as many parameters, the size within 1% and a test
metric inside the published interval; exit status 1 where one differs, or there is none.
``table`` writes ``models/README.md``, as ``make tables`` does.
"""

import argparse
from pathlib import Path

from benchmarks.kept import program
from benchmarks.models.check import check
from benchmarks.models.publish import publish
from benchmarks.models.table import README, published_models


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns 1 where a model could not be made again, or there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("publish", help="put a model into models/")
    one.add_argument("search", type=Path, help="the folder that compress auto wrote")
    one.add_argument("name", help="of the folder in models/, such as banking77/balanced: the data set comes first")
    one.add_argument("--data", required=True, help="how the recipe names the data: a hub id, or a path relative to it")
    one.add_argument("--model", help="one of front/ (default: best/)")
    one.add_argument("--report", type=Path, help="of a later compress bench, the teacher first (default: the search's)")
    several = commands.add_parser("check", help="make models again and compare")
    several.add_argument("names", nargs="*", metavar="NAME", help="(default: all)")
    several.add_argument("--data", type=Path, help="the folder that holds banking77, ... (default: as the recipe says)")
    commands.add_parser("table", help="write models/README.md")
    given = parser.parse_args(arguments)
    if given.command == "check":
        names = given.names or published_models()
        if not names:
            print("no models")
            return 1
        same = [check(name, given.data) for name in names]  # all of them, also after one that differs
        return int(not all(same))
    if given.command == "publish":
        print(publish(given.search, given.name, given.data, given.model, given.report))
    write_table()
    return 0


def write_table() -> None:
    """Make what stands between the marks of ``models/README.md`` anew."""
    from benchmarks.tables import with_tables  # which makes it too

    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    program(main)
