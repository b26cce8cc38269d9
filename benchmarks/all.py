"""All benchmarks of catalogue.py in their order: python -m benchmarks.all [--quick]

``make bench`` and ``make bench-quick``. What a benchmark prints and does not keep goes to ``runs/bench``; the quick
parts keep nothing in ``results/``, their figures go to ``runs/bench-quick``. One that fails is named at the end, and
the next one starts all the same. The demo's models are made first where they are missing.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.catalogue import BENCHMARKS, INT8, Benchmark
from benchmarks.kept import RESULTS, commit, read, write
from compress.clock import Stopwatch, in_words

ROOT = Path(__file__).parents[1]
REPORTS = {f"{name}.json": f"runs/{name}/report/results.json" for name in ("demo", "sst2")}


def main() -> int:
    """Returns 1 where one failed."""
    quick = "--quick" in sys.argv[1:]
    out = ROOT / "runs" / ("bench-quick" if quick else "bench")
    out.mkdir(parents=True, exist_ok=True)
    if quick and not (ROOT / INT8).exists():
        run("compress demo --out runs/demo", out / "demo.txt")
    failed = []
    for benchmark, command in chosen(quick):
        name = name_of(command)
        watch = Stopwatch()
        kept = RESULTS / benchmark.keeps if benchmark.keeps and not quick else None
        ended = run(command.format(out=out / f"{name}.json"), out / f"{name}.txt")
        print(f"{name}: {'failed' if ended else 'done'} in {in_words(watch.seconds)}", file=sys.stderr)
        if ended:
            failed.append(name)
        elif kept and benchmark.printed:
            kept.write_bytes((out / f"{name}.txt").read_bytes())
        elif kept and kept.name in REPORTS:
            write(kept, {"commit": commit()} | without_texts(read(ROOT / REPORTS[kept.name])))
    print(f"failed: {', '.join(failed)}; see {out}" if failed else f"all done, see {out}")
    return int(bool(failed))


def chosen(quick: bool) -> Iterator[tuple[Benchmark, str]]:
    """What is run here, and by which command."""
    for benchmark in BENCHMARKS:
        command = benchmark.quick if quick else benchmark.command
        if command and not benchmark.elsewhere:
            yield benchmark, command


def without_texts(results: dict[str, Any]) -> dict[str, Any]:
    """A bench's results without the test texts that it quotes, which are not ours to publish."""
    models = [
        entry | {"flips": entry["flips"] | {"texts": []}} if entry.get("flips") else entry
        for entry in results["models"]
    ]
    return results | {"models": models}


def name_of(command: str) -> str:
    """``peers`` of ``python -m benchmarks.peers ...``, ``run-sst2`` of ``compress run ... --out runs/sst2``."""
    words = command.split()
    return words[2].rpartition(".")[2] if words[0] == "python" else f"{words[1]}-{Path(words[-1]).name}"


def run(command: str, out: Path) -> int:
    """The command in the repository's root with this Python; what it prints goes to ``out``, progress to stderr."""
    here = shlex.quote(sys.executable)
    line = re.sub(r"(^|&& )compress ", rf"\1{here} -m compress ", command).replace("python -m", f"{here} -m")
    with out.open("w", encoding="utf-8") as file:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(line, shell=True, cwd=ROOT, env=environment, stdout=file, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
