"""A/A: one model under two names. Where a benchmark is sound, it finds no difference.

python -m benchmarks.a_a MODEL --data DIR [--runs 10] [--neighbours 0] [--seconds 6]

Each run is a whole ``bench`` of the model against itself, in processes of their own; its ratio of medians should be
within 1.00 +- 0.03. ``--neighbours 1`` keeps one process busy with arithmetic all the while, which takes half of a
2-core machine. Runs are added to ``results/a_a.jsonl``, one line each.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kept import RESULTS, about, add_line
from compress.benchmark.measure import bench
from compress.clock import Stopwatch
from compress.config import BenchConfig, DataConfig
from compress.data import Split
from compress.data.read import read_test
from compress.machine import usable_cpus
from compress.progress import be_quiet

KEPT = RESULTS / "a_a.jsonl"
TEXTS = 200
_WITHIN = 0.03


def main() -> None:
    """Run A/A so many times; one line a run on stdout and in ``results/a_a.jsonl``."""
    given = arguments()
    be_quiet(True)
    whole, task = read_test(DataConfig(data=str(given.data)))
    test = Split(whole.texts[:TEXTS], whole.labels[:TEXTS])
    with busy_neighbours(given.neighbours):
        for number in range(given.runs):
            config = BenchConfig(seconds=given.seconds, seed=number)
            row = about([usable_cpus()]) | {"model": given.name or given.model.resolve().name}
            row |= {"neighbours": given.neighbours} | run(given.model, test, task, config)
            add_line(KEPT, row)
            verdict = "" if abs(row["ratio"] - 1) <= _WITHIN else "  outside 1.00 +- 0.03"
            print(f"{row['ratio']:.4f}  p50 {row['p50_ms']:.3f} ms  {row['wall_s']:.0f} s{verdict}", flush=True)


def run(model: Path, test: Split, task: str, config: BenchConfig) -> dict[str, float]:
    """The ratio of the medians of ``model`` and ``model``."""
    watch = Stopwatch()
    results = bench([model, model], test, task, config)
    first, second = results["models"]
    return {
        "ratio": second["versus_first"]["speedup_p50"],
        "p50_ms": first["latency"][0]["p50_ms"],
        "p50_ci95": first["latency"][0]["p50_ci95"],
        "rounds": len(results["samples"][0]["rounds_ms"]),
        "wall_s": round(watch.seconds, 1),
    }


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(100_000))"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A/A: a model against itself")
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", help="what to call the model in the results")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--neighbours", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=6.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
