"""From nothing to the first answer: python -m benchmarks.load_time TORCH ONNX [ROUNDS].

Whole processes, started in turns, the order reversed every round (default: 7): one imports transformers and answers one
text with its pipeline from the PyTorch folder, one imports compress and answers it with ``compress.load`` from the
exported folder of the same model. Time counts from the process's start to its end, and beside it the processor's time,
user's and system's, which other programs on the machine lengthen less; memory is its own
peak (``VmHWM``; ``ru_maxrss`` would begin with that of the process that started it).
Before the first round each runs once, so that files are in the page cache and modules are compiled, as pip leaves them.
Prints one JSON object: medians and ratios.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from compress.clock import Stopwatch

TEXT = "The striker scored twice before half-time, and the keeper saved a late penalty."
PROGRAMS = {
    "transformers": (
        "import sys, compress\n"  # registers pruned models, and costs next to nothing
        "from transformers import pipeline\n"
        "print(pipeline('text-classification', sys.argv[1], device='cpu')(sys.argv[2])[0]['label'])"
    ),
    "compress": "import sys, compress\nprint(compress.load(sys.argv[1])(sys.argv[2]).label)",
}
PEAK_KB = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


@dataclass(frozen=True, slots=True)
class Run:
    """One process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    label: str


def main() -> None:
    """All rounds, then the ratios."""
    folders = dict(zip(PROGRAMS, sys.argv[1:3], strict=True))
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    for name, folder in folders.items():
        run(name, folder)
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        for name in sorted(PROGRAMS, reverse=bool(number % 2)):
            runs[name].append(run(name, folders[name]))
    if len(labels := {one.label for found in runs.values() for one in found}) != 1:
        raise SystemExit(f"not one answer: {labels}")
    print(json.dumps({"rounds": rounds, **figures(runs["transformers"], runs["compress"])}, indent=2))


def run(name: str, folder: str) -> Run:
    """One process from start to end."""
    command = [sys.executable, "-c", PROGRAMS[name] + PEAK_KB, folder, TEXT]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    watch, before_s = Stopwatch(), _cpu_seconds_of_children()
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds, cpu_seconds = watch.seconds, _cpu_seconds_of_children() - before_s
    if ended.returncode != 0:
        raise SystemExit(f"{name} on {folder} ended with {ended.returncode}")
    label, peak_kb = ended.stdout.split()
    return Run(seconds, cpu_seconds, int(peak_kb) * 1024, label)


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(theirs: Sequence[Run], ours: Sequence[Run]) -> dict[str, float]:
    """Medians and their ratios, ours over theirs."""
    seconds = [median(one.seconds for one in runs) for runs in (theirs, ours)]
    cpu_seconds = [median(one.cpu_seconds for one in runs) for runs in (theirs, ours)]
    peaks = [median(one.peak_bytes for one in runs) for runs in (theirs, ours)]
    return {
        "transformers_s": seconds[0],
        "compress_s": seconds[1],
        "time_ratio": seconds[1] / seconds[0],
        "transformers_cpu_s": cpu_seconds[0],
        "compress_cpu_s": cpu_seconds[1],
        "cpu_ratio": cpu_seconds[1] / cpu_seconds[0],
        "transformers_peak_mb": peaks[0] / 1e6,
        "compress_peak_mb": peaks[1] / 1e6,
        "memory_ratio": peaks[1] / peaks[0],
    }


if __name__ == "__main__":
    main()
