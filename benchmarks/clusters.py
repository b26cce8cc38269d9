"""Spark and Ray in local mode: python -m benchmarks.clusters MODEL [--engine spark|ray] [--rows 100000]

Each labels so many rows with 1 and with 2 workers, as ``examples/`` has it, and every answer is compared with that of
``compress.load``. The rate leaves out what the engine takes to start and stop, which a run over 1,000 rows tells.
It needs the engines (``pip install pyspark pandas 'ray[data]'``, Java 17 or newer). Prints one JSON object.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyarrow.parquet

import compress
from compress.clock import Stopwatch
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.runtime.classifier import Prediction

EXAMPLES = Path(__file__).parents[1] / "examples"
ENGINES = {"spark": "--master=local[{}]", "ray": "--workers={}"}
_PACKAGES = {"spark": "pyspark", "ray": "ray"}
_FILES, _FEW, _TOLERANCE = 8, 1_000, 1e-5
_WORDS = ("a", "the", "film", "story", "is", "was", "very", "and", "with", "good", "bad", "awful", "great", "dull")


def texts(count: int) -> list[str]:
    """Random texts of up to 60 words, each with its number, so that no two are equal."""
    rng = random.Random(0)
    return [" ".join([str(number), *rng.choices(_WORDS, k=rng.randint(1, 60))]) for number in range(count)]


def write_rows(folder: Path, rows: Sequence[str]) -> None:
    """The texts with their numbers, in several Parquet files."""
    folder.mkdir()
    for part in range(_FILES):
        numbers = range(part, len(rows), _FILES)
        table = pyarrow.table({"id": list(numbers), "text": [rows[number] for number in numbers]})
        pyarrow.parquet.write_table(table, folder / f"{part}.parquet")


def run(engine: str, model: Path, workers: int, source: Path, out: Path) -> float:
    """The seconds that the engine's program takes from its start to its end."""
    command = [sys.executable, str(EXAMPLES / engine / "classify.py"), *map(str, (model, source, out))]
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "RAY_USAGE_STATS_ENABLED": "0"}
    watch = Stopwatch()
    ended = subprocess.run(
        [*command, ENGINES[engine].format(workers)], env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise SystemExit(f"{engine} with {workers} workers ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    return watch.seconds


def wrong_rows(model: Path, rows: Sequence[str], out: Path) -> int:
    """How many rows of ``out`` are missing, too many or without the answer of ``compress.load``."""
    table = pyarrow.parquet.read_table(out)
    found = {row["id"]: row for row in table.to_pylist()}
    wrong: int = max(0, table.num_rows - len(rows))
    with compress.load(model, threads=1) as classifier:
        for number, (text, expected) in enumerate(zip(rows, classifier.stream(rows), strict=True)):
            wrong += number not in found or not _right(found[number], text, expected)
    return wrong


def _right(row: Mapping[str, Any], text: str, expected: Prediction) -> bool:
    told = (row["text"], row["label"], row["abstained"])
    return told == (text, expected.label, expected.abstained) and abs(row["score"] - expected.score) <= _TOLERANCE


def measure(engine: str, model: Path, count: int, workers: Sequence[int] = (1, 2)) -> dict[str, Any]:
    """The rows a second with so many workers, and how many answers were wrong."""
    rows, figures = texts(count), dict[str, Any]()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_rows(folder / "all", rows)
        write_rows(folder / "few", rows[:_FEW])
        for number in workers:
            start_s = run(engine, model, number, folder / "few", folder / f"few-{number}")
            all_s = run(engine, model, number, folder / "all", folder / f"all-{number}")
            wrong = wrong_rows(model, rows, folder / f"all-{number}")
            rate = (count - _FEW) / (all_s - start_s)
            figures[str(number)] = {"start_s": start_s, "all_s": all_s, "rows_per_s": rate, "wrong": wrong}
    return figures


def main() -> int:
    """Returns 1 if a row has a wrong answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--engine", choices=ENGINES, help="this one alone")
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    engines = [given.engine] if given.engine else list(ENGINES)
    read_manifest(given.model)  # says so where it is none
    for engine in engines:
        if find_spec(_PACKAGES[engine]) is None:
            parser.error(
                f"{engine} is not installed here; pip install pyspark pandas 'ray[data]', or name one --engine"
            )
    found = {engine: measure(engine, given.model, given.rows) for engine in engines}
    print(json.dumps({"rows": given.rows, **found}, indent=2))
    return int(any(one["wrong"] for figures in found.values() for one in figures.values()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CompressError as error:
        sys.exit(str(error))
