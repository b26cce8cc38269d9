"""Fuzz what reads users' files: nothing but CompressError may escape.

python -m tests.fuzz [KIND ...] --cases 100000 --keep benchmarks/results/fuzz

Prints for each kind how many cases were tried, and what escaped by type with the number and the story of the first
case; ``--keep`` writes a file a kind. A case is made from its number alone: ``--first N --cases 1`` tries it again.
"""

import argparse
import math
import sys
from pathlib import Path

from benchmarks.kept import Record
from tests.fuzz.kinds import KINDS
from tests.fuzz.tried import tried

# Of kinds that take long, one case is tried where of the others so many are.
_LONG = {"load": 5, "xlsx": 5}


def main() -> int:
    """Try the cases; the exit status is 1 if anything escaped."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="fuzz what reads users' files")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument(
        "--cases", type=int, default=1_000, help="of each kind, a fifth of load and xlsx (default: 1000)"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: 0)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="for each kind (default: no end)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the results there, as KIND.json")
    given = parser.parse_args()
    if given.cases < 1:
        parser.error(f"--cases {given.cases}: give at least 1")
    if unknown := set(given.kinds) - KINDS.keys():
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if given.keep:
        given.keep.mkdir(exist_ok=True)
    kinds = given.kinds or KINDS
    escaped = [_fuzzed(kind, given) for kind in kinds]
    return 1 if any(escaped) else 0


def _fuzzed(kind: str, given: argparse.Namespace) -> int:
    """How many cases of the kind escaped."""
    record, cases = Record(), -(-given.cases // _LONG.get(kind, 1))
    found = tried(kind, range(given.first, given.first + cases), given.minutes)
    told = {
        "kind": kind,
        "first": given.first,
        "asked": cases,
        "cases": found.cases,
        "escapes": dict(found.escapes),
        "problems": {name: {"case": number, "story": story[-700:]} for name, (number, story) in found.first.items()},
    }
    record.tell(told, given.keep / f"{kind}.json" if given.keep else None)
    sys.stdout.flush()
    return found.escapes.total()


if __name__ == "__main__":
    sys.exit(main())
