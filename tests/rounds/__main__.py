"""Commands that meet: runs in one folder or one cache, readers beside a writer, containers that share a volume.

python -m tests.rounds [KIND ...] --rounds 1000 --keep benchmarks/results/rounds.json

Prints rounds by kind and what went wrong; the exit status is 1 if anything did. Containers, which have process numbers
of their own, are left out where the user may not make such.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.kept import Record, add_keep
from tests.processes import memory_folder

# Threads would not outlive the forks.
_ALONE = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> int:
    """Play the rounds, print the table and keep the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.rounds", description="commands that meet")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="such as 'two runs, one folder'; default: all")
    parser.add_argument("--rounds", type=int, default=20, help="over all kinds (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments (default: 0)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="play no more after these (default: no end)")
    add_keep(parser)
    given = parser.parse_args()
    record = Record()
    with rounds(given.rounds, given.minutes, given.seed, given.kinds) as told:
        result = summary(told)
    record.tell({"seed": given.seed, "asked": given.rounds, **result}, given.keep)
    return 1 if result["wrong"] else 0


@contextmanager
def rounds(how_many: int, minutes: float, seed: int, kinds: Sequence[str]) -> Iterator[Iterator[dict[str, Any]]]:
    """What :mod:`tests.rounds.played` prints of so many rounds, as it comes."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as place:
        command = [sys.executable, "-m", "tests.rounds.played", place, *map(str, (how_many, minutes, seed)), *kinds]
        with subprocess.Popen(command, env=os.environ | _ALONE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield map(json.loads, process.stdout)
        if process.returncode:
            raise SystemExit(process.returncode)


def summary(told: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """How many rounds of each kind were played, and each that went wrong."""
    played: Counter[str] = Counter()
    problems = []
    for one in told:
        played[one["kind"]] += 1
        if one["problem"] is not None:
            problems.append(one)
    return {"played": dict(played), "rounds": played.total(), "wrong": len(problems), "problems": problems}


if __name__ == "__main__":
    sys.exit(main())
