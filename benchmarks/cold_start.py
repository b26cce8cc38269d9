"""Cold start: python -m benchmarks.cold_start TORCH ONNX [--rounds 7] [--out FILE].

Whole processes in turns, as ``benchmarks.load_time`` has them: import, load, first answer, by ``transformers.pipeline``
and by ``compress.load`` on the same weights; first with all files in the page cache, then with it emptied before each
process. As root that is the whole machine's cache, libraries included; else the kernel is asked to drop the model's
files (``posix_fadvise``), and the libraries' stay. The result says which.
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import kept
from benchmarks.load_time import PROGRAMS, Run, figures, run

DROP = Path("/proc/sys/vm/drop_caches")
_STATES = {
    "warm": "warm",
    "all": "empty: all dropped that no process has open",
    "model": "without the model's files",
}


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
    about = kept.about(given.onnx, [1], given.beside)
    document = about | {"rounds": given.rounds, "page_cache": states}
    given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(document), end="")


def in_turns(folders: dict[str, str], rounds: int, before: Callable[[Path], object] | None = None) -> dict[str, float]:
    """Each program once a round, the order reversed every round; ``before`` each with its folder."""
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        for name in sorted(PROGRAMS, reverse=bool(number % 2)):
            if before is not None:
                before(Path(folders[name]))
            runs[name].append(run(name, folders[name]))
    return figures(runs["transformers"], runs["compress"])


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


def table(document: Mapping[str, Any] | None) -> str:
    """A row for each state of the page cache."""
    if document is None:
        return kept.NOT_YET
    lines = [["page cache", "`transformers.pipeline`, s", "`compress.load`, s", "ratio", "of CPU time", "of memory"]]
    for state, row in document["page_cache"].items():
        seconds = (f"{row['transformers_s']:.2f}", f"{row['compress_s']:.2f}")
        ratios = (f"{row[name]:.3f}" for name in ("time_ratio", "cpu_ratio", "memory_ratio"))
        lines.append([_STATES[state], *seconds, *ratios])
    return kept.rows(lines) + kept.conditions(document)


if __name__ == "__main__":
    main()
