"""Measures everything that is said of GPUs, in one command; without a GPU, a miniature of it.

    python -m benchmarks.gpu [--out benchmarks/results/gpu.json] [--minutes 11]

The results are written after every part. See README.md beside this file for a machine without a package index.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.runner import run_parts
from benchmarks.gpu.setting import setting_for
from benchmarks.gpu.table import table
from benchmarks.kept import RESULTS, about, write
from compress.machine import usable_cpus


def main() -> None:
    """Measure, print a line for each part and the table at the end, write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="speed on a GPU, all of it")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/gpu.json, or on a CPU gpu-miniature.json")
    parser.add_argument("--minutes", type=float, default=11.0, help="time for all parts together")
    names = [part.name for part in PARTS]
    told = "only these, beside those that --out already holds"
    parser.add_argument("--parts", nargs="+", metavar="PART", choices=names, help=told)
    given = parser.parse_args()
    parts = [part for part in PARTS if not given.parts or part.name in (*given.parts, "make", "rates")]
    with tempfile.TemporaryDirectory() as folder:
        setting = setting_for(Path(folder))
        out = given.out or (RESULTS / "gpu.json" if setting.on_gpu else Path("gpu-miniature.json"))
        document: dict[str, Any] = about([usable_cpus()]) | {
            "miniature": not setting.on_gpu,
            "minutes": given.minutes,
            "parts": {},
        }
        if given.parts:
            document["parts"] = earlier_parts(out, document["machine"]["gpu"])

        def report(name: str, outcome: dict[str, Any]) -> None:
            document["parts"][name] = outcome
            write(out, document)
            reason = f": {outcome['reason']}" if "reason" in outcome else ""
            print(f"{name}: {outcome['status']}, {len(outcome['rows'])} rows, {outcome.get('seconds', 0)} s{reason}")

        run_parts(parts, setting, 60 * given.minutes, report)
    print(table(document))
    print(f"written: {out}")


def earlier_parts(path: Path, card: str | None) -> dict[str, Any]:
    """What an earlier run found, each part with the time of that run; none where there is no such file."""
    if not path.is_file():
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if earlier["machine"]["gpu"] != card:
        raise SystemExit(f"{path}: is of another card, {earlier['machine']['gpu']}, not {card}; give another --out")
    return {name: {"created": earlier["created"]} | part for name, part in earlier["parts"].items()}


if __name__ == "__main__":
    main()
