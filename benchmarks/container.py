"""A classifier in small containers: python -m benchmarks.container MODEL [--texts 1000] [--rounds 5] [--out FILE]

For 0.5, 1 and 2 CPUs in turns, the order reversed every round, a process starts in a control group with that quota of
CPU time in each 100 ms. It loads the model as an app does that sets nothing, and answers news articles, first one after
the other without a pause, then all in one call. A process that has used up its quota stands still until the 100 ms are
over: the 99th percentile shows that, the median hides it, and the mean is what a busy container gives.

Groups are made in the machine's own tree, which takes root's rights there. Nothing else should use the CPUs meanwhile.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

import compress
from benchmarks import kept
from compress.benchmark.cost import peak_memory_bytes
from compress.clock import Stopwatch
from compress.demo_assets import bbc_news
from compress.limits import find_limits

CPUS = (0.5, 1.0, 2.0)
PERIOD_US = 100_000
_TREES = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))  # of version 1 and of version 2
_UNTIMED = 20
_COLUMNS = {
    "peak_mb": "memory at the peak, MB",
    "first_answer_s": "from start to first answer, s",
    "p50_ms": "p50, ms a text",
    "mean_ms": "mean, ms a text",
    "p99_ms": "p99, ms a text",
    "texts_per_s": "texts/s in one call",
}


@contextmanager
def group_of(cpus: float) -> Iterator[Path]:
    """The folder of a new control group with this quota, without processes."""
    tree = next((tree for tree in _TREES if (tree / "cgroup.procs").exists()), _TREES[-1])
    group = tree / f"compress-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(f"{group}: no control group can be made here ({error.strerror}); run this as root") from None
    try:
        quota_us = round(cpus * PERIOD_US)
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        elif (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            raise SystemExit(
                f"{tree}: its groups have no quota of CPU time; write +cpu into its cgroup.subtree_control"
            )
        yield group
    finally:
        group.rmdir()


def run(model: Path, cpus: float, texts: Sequence[str]) -> dict[str, float]:
    """One process with so many CPUs, from its start to its end."""
    with group_of(cpus) as group:
        command = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), sys.executable]
        command += ["-m", "benchmarks.container", str(model), "--answer"]
        watch = Stopwatch()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(texts))
            process.stdin.close()
            first = process.stdout.readline()
            first_answer_s = watch.seconds
            told = process.stdout.read()
    if not first or process.returncode:
        raise SystemExit(f"with {cpus:g} CPUs the process ended with {process.returncode}")
    return {"first_answer_s": first_answer_s, **json.loads(told)}


def answer(model: Path, texts: Sequence[str]) -> None:
    """What :func:`run` starts: a line on stdout after the first answer, and the figures at the end."""
    classifier = compress.load(model)
    print(classifier(texts[0]).label, flush=True)
    times_ms = []
    for text in (*texts[:_UNTIMED], *texts):
        watch = Stopwatch()
        classifier(text)
        times_ms.append(watch.milliseconds)
    p50, p99 = np.percentile(times_ms[_UNTIMED:], [50, 99]).tolist()
    watch = Stopwatch()
    classifier(texts)
    figures = {"p50_ms": p50, "p99_ms": p99, "mean_ms": fmean(times_ms[_UNTIMED:])}
    peak_bytes = peak_memory_bytes()
    assert peak_bytes is not None  # on Linux, where containers run
    figures |= {"texts_per_s": len(texts) / watch.seconds, "peak_mb": peak_bytes / 1e6}
    limits = find_limits()
    print(json.dumps({"quota_cpus": limits.quota_cpus, "threads": limits.cpus, **figures}))


def measure(model: Path, texts: Sequence[str], rounds: int, cpus: Sequence[float] = CPUS) -> dict[str, Any]:
    """The median figures of each number of CPUs, by its name."""
    runs: dict[float, list[dict[str, float]]] = {one: [] for one in cpus}
    for number in range(rounds):
        for one in reversed(cpus) if number % 2 else cpus:
            runs[one].append(run(model, one, texts))
    return {
        f"{one:g}": {name: median(each[name] for each in found) for name in found[0]} for one, found in runs.items()
    }


def table(document: Mapping[str, Any]) -> str:
    """A row for each number of CPUs."""
    lines = [["CPUs", "threads", *_COLUMNS.values()]]
    for cpus, row in document["cpus"].items():
        lines.append([cpus, f"{row['threads']:.0f}", *(_shown(row[name]) for name in _COLUMNS)])
    return kept.markdown(lines) + kept.below(document)


def _shown(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def main() -> None:
    """Measure, keep the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--answer", action="store_true", help="answer the texts on stdin (the command does this itself)"
    )
    kept.add_arguments(parser, "container.json")
    given = parser.parse_args()
    if given.answer:
        answer(given.model, json.load(sys.stdin))
        return
    texts = random.Random(0).sample(bbc_news()[0], given.texts)
    about = kept.about([1, 2], model=given.model, beside=given.beside) | {
        "quota": f"control groups, CPU time in each {PERIOD_US / 1000:g} ms",
        "texts": given.texts,
        "rounds": given.rounds,
    }
    document = about | {"cpus": measure(given.model, texts, given.rounds)}
    kept.write(given.out, document)
    print(table(document), end="")


if __name__ == "__main__":
    kept.program(main)
