"""Cold start: python -m benchmarks.cold_start TORCH ONNX [ROUNDS].

Whole processes in turns, as ``benchmarks.load_time`` has them: import, load, first answer, by ``transformers.pipeline``
and by ``compress.load`` on the same weights; first with the model's files in the page cache, then without them
(``posix_fadvise``: the kernel is asked to drop them before each process; the libraries' own files stay).
Prints one JSON object.
"""

import json
import os
import sys
from pathlib import Path

from benchmarks.load_time import PROGRAMS, Run, figures, run


def main() -> None:
    """Both states of the page cache, then the ratios."""
    folders = dict(zip(PROGRAMS, sys.argv[1:3], strict=True))
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    for name, folder in folders.items():
        run(name, folder)
    measured = {"warm": in_turns(folders, rounds, drop=False)}
    if hasattr(os, "posix_fadvise"):
        measured["empty"] = in_turns(folders, rounds, drop=True)
    print(json.dumps({"rounds": rounds, **measured}, indent=2))


def in_turns(folders: dict[str, str], rounds: int, *, drop: bool) -> dict[str, float]:
    """Each program once a round, the order reversed every round."""
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        for name in sorted(PROGRAMS, reverse=bool(number % 2)):
            if drop:
                forget(Path(folders[name]))
            runs[name].append(run(name, folders[name]))
    return figures(runs["transformers"], runs["compress"])


def forget(folder: Path) -> None:
    """Have the kernel drop the folder's files from its page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
