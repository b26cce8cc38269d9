"""Kill a small ``compress run``, or let its disk be full or broken, at many of its file operations.

python -m tests.faults --points 400 --keep benchmarks/results/faults.json

After each fault the same command has to end with the bytes of a run that nobody disturbed, and to leave nothing over.
Prints what was tried, by scenario and fault; the exit status is 1 if anything went wrong.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.kept import Record, add_keep
from tests.faults.library import build, compiler
from tests.processes import memory_folder

# Threads would not outlive the forks.
_ALONE = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> int:
    """Try the points, print the table and keep the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="faults at file operations of a run")
    parser.add_argument("--points", type=int, default=40, help="over all scenarios (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="draws the points (default: 0)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="try no more after these (default: no end)")
    add_keep(parser)
    given = parser.parse_args()
    if compiler() is None:
        parser.error("needs Linux and a C compiler named cc")
    record = Record()
    with points(given.points, given.seed, minutes=given.minutes) as told:
        result = summary(told)
    record.tell({"seed": given.seed, "asked": given.points, **result}, given.keep)
    return 1 if result["wrong"] else 0


@contextmanager
def points(how_many: int, seed: int, *scenarios: str, minutes: float = math.inf) -> Iterator[Iterator[dict[str, Any]]]:
    """What :mod:`tests.faults.points` prints of so many points, as it comes."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as place:
        environment = os.environ | _ALONE | {"LD_PRELOAD": str(build(Path(place)))}
        command = [sys.executable, "-m", "tests.faults.points", place, *map(str, (how_many, minutes, seed)), *scenarios]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield map(json.loads, process.stdout)
        if process.returncode:
            raise SystemExit(process.returncode)


def summary(told: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """How many points of each kind were tried, and each that went wrong."""
    operations = next(told)["operations"]
    tried: Counter[str] = Counter()
    problems = []
    for point in told:
        tried[f"{point['scenario']}: {point['fault']}"] += 1
        if point["problem"] is not None:
            problems.append(point)
    return {
        "operations": operations,
        "tried": dict(sorted(tried.items())),
        "points": tried.total(),
        "wrong": len(problems),
        "problems": problems,
    }


if __name__ == "__main__":
    sys.exit(main())
