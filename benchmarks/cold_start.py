"""From nothing to the first answer: python -m benchmarks.cold_start TORCH ONNX [--rounds 7] [--out FILE].

Whole processes, started in turns, the order reversed every round: one imports transformers and answers one text with
its pipeline from the PyTorch folder, one imports compress and answers it with ``compress.load`` from the exported
folder of the same model. Time counts from the process's start to its end, and beside it the processor's time, user's
and system's, which other programs on the machine lengthen less; memory is its own peak (``VmHWM``; ``ru_maxrss`` would
begin with that of the process that started it). Before the first round each runs once, so that files are in the page
cache and modules are compiled, as pip leaves them.

All that is done once more with the page cache emptied before each process. As root that is the whole machine's cache,
libraries included; else the kernel is asked to drop the model's files (``posix_fadvise``), and the libraries' stay. The
result says which.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import kept
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
DROP = Path("/proc/sys/vm/drop_caches")
_STATES = {
    "warm": "warm",
    "all": "empty: all dropped that no process has open",
    "model": "without the model's files",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    label: str


def main() -> None:
    """Both states of the page cache, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("torch", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    kept.add_arguments(parser, "cold_start.json")
    given = parser.parse_args()
    for folder in (given.torch, given.onnx):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder; give one model's PyTorch folder and its ONNX folder")
    folders = dict(zip(PROGRAMS, (str(given.torch), str(given.onnx)), strict=True))
    for name, folder in folders.items():
        run(name, folder)
    states = {"warm": in_turns(folders, given.rounds)}
    if can_drop_all():
        states["all"] = in_turns(folders, given.rounds, lambda _: drop_all())
    elif hasattr(os, "posix_fadvise"):
        states["model"] = in_turns(folders, given.rounds, forget)
    about = kept.about([1], model=given.onnx, beside=given.beside)
    document = about | {"rounds": given.rounds, "page_cache": states}
    kept.write(given.out, document)
    print(table(document), end="")


def in_turns(folders: dict[str, str], rounds: int, before: Callable[[Path], object] | None = None) -> dict[str, float]:
    """Each program once a round, the order reversed every round; ``before`` each with its folder."""
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        for name in sorted(PROGRAMS, reverse=bool(number % 2)):
            if before is not None:
                before(Path(folders[name]))
            runs[name].append(run(name, folders[name]))
    if len(labels := {one.label for found in runs.values() for one in found}) != 1:
        raise SystemExit(f"not one answer: {labels}")
    return figures(runs["transformers"], runs["compress"])


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


def can_drop_all() -> bool:
    """Whether the kernel empties its page cache for this process."""
    with suppress(OSError):
        drop_all()
        return True
    return False


def drop_all() -> None:
    """Have the kernel empty its page cache of all that is written out."""
    os.sync()
    DROP.write_text("3")


def forget(folder: Path) -> None:
    """Have the kernel drop the folder's files from its page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def table(document: Mapping[str, Any]) -> str:
    """A row for each state of the page cache."""
    lines = [["page cache", "`transformers.pipeline`, s", "`compress.load`, s", "ratio", "of CPU time", "of memory"]]
    for state, row in document["page_cache"].items():
        seconds = (f"{row['transformers_s']:.2f}", f"{row['compress_s']:.2f}")
        ratios = (f"{row[name]:.3f}" for name in ("time_ratio", "cpu_ratio", "memory_ratio"))
        lines.append([_STATES[state], *seconds, *ratios])
    return kept.markdown(lines) + kept.below(document)


if __name__ == "__main__":
    main()
