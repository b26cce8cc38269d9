"""Fuzz what reads users' files: nothing but CompressError may escape.

python -m tests.fuzz [KIND ...] --cases 100000

Prints a line a kind: cases, and what escaped by type with the number of the first case. A case is made from its number
alone: ``--first N --cases 1`` tries it again.
"""

import argparse
import sys

from tests.fuzz.kinds import KINDS
from tests.fuzz.tried import tried


def main() -> int:
    """Try the cases; the exit status is 1 if anything escaped."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="fuzz what reads users' files")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--cases", type=int, default=1_000, help="of each kind (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: 0)")
    given = parser.parse_args()
    if unknown := set(given.kinds) - KINDS.keys():
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    escaped = 0
    for kind in given.kinds or KINDS:
        found = tried(kind, range(given.first, given.first + given.cases))
        escaped += found.escapes.total()
        told = [f"{kind}: {found.cases:,} cases, {found.escapes.total()} escapes {dict(found.escapes)}\n"]
        told += [f"  {name}, first in case {number}: {story[-700:]}\n" for name, (number, story) in found.first.items()]
        sys.stdout.writelines(told)
        sys.stdout.flush()
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
