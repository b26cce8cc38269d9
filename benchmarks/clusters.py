"""Spark and Ray in local mode: python -m benchmarks.clusters MODEL [--engine spark|ray] [--rows 100000] [--out FILE]

Each labels so many rows with 1 and with 2 workers, as ``examples/`` has it, and every answer is compared with that of
``compress.load``. The rate leaves out what the engine takes to start and stop, which a run over 1,000 rows tells.
Each engine's figures are kept as soon as they are there; those of one ``--engine`` join the other's of an earlier run,
of which all but the time must be the same.
It needs the engines (``pip install pyspark pandas 'ray[data]'``, Java 17 or newer).
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyarrow.parquet

import compress
from benchmarks import kept
from benchmarks.predict_lines import texts
from compress.clock import Stopwatch
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.runtime.classifier import Prediction

EXAMPLES = Path(__file__).parents[1] / "examples"
WORKERS = (1, 2)
ENGINES = {"spark": "--master=local[{}]", "ray": "--workers={}"}
_PACKAGES = {"spark": "pyspark", "ray": "ray"}
_RAY_PORTS = (
    *("port", "dashboard-agent-grpc-port", "dashboard-agent-listen-port"),
    *("metrics-export-port", "runtime-env-agent-port"),
)
_FILES, _FEW, _TOLERANCE = 8, 1_000, 1e-5


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
    command.append(ENGINES[engine].format(workers))
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "RAY_USAGE_STATS_ENABLED": "0"}
    cluster: AbstractContextManager[dict[str, str]] = nullcontext({}) if engine == "spark" else ray_cluster(workers)
    with cluster as found:
        watch = Stopwatch()
        ended = subprocess.run(command, env=environment | found, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{engine} with {workers} workers ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    return watch.seconds


@contextmanager
def ray_cluster(workers: int) -> Iterator[dict[str, str]]:
    """The environment in which a program finds a cluster of this machine, with CPUs for the workers and the reading.

    Ray waits 30 s for its node, and 15 s for helpers that choose ports of their own to say which: too little on a busy
    machine, where it says that the node timed out. The first wait can be made longer; with ports given there is no
    other. Its workers give way to every other process (niceness 15), so that beside one they would hardly begin.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in _RAY_PORTS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--include-dashboard=false"]
    command += [f"--num-cpus={workers + 1}", *map("--{}={}".format, _RAY_PORTS, ports)]
    with TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:  # the path of a socket must be short
        environment = {"RAY_ADDRESS": f"127.0.0.1:{ports[0]}"}
        # It blocks: ended, it takes its own processes along, and no other cluster is touched.
        command += [f"--temp-dir={temporary}", "--node-ip-address=127.0.0.1", "--disable-usage-stats", "--block"]
        patient = os.environ | {"RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"}
        started = subprocess.Popen(command, env=patient, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []
        try:
            assert started.stdout is not None
            for line in started.stdout:
                said.append(line)
                if "Ray runtime started" in line:
                    break
            else:
                raise SystemExit(f"ray did not start:\n{''.join(said)[-3000:]}")
            yield environment
        finally:
            started.terminate()
            started.communicate()


def expected_rows(model: Path, rows: Sequence[str]) -> list[Prediction]:
    """The answers of ``compress.load``."""
    with compress.load(model, threads=1) as classifier:
        return list(classifier.stream(rows))


def wrong_rows(rows: Sequence[str], expected: Sequence[Prediction], out: Path) -> int:
    """How many rows of ``out`` are missing, too many or without the answer that is expected."""
    table = pyarrow.parquet.read_table(out)
    found = {row["id"]: row for row in table.to_pylist()}
    wrong: int = max(0, table.num_rows - len(rows))
    for number, (text, answer) in enumerate(zip(rows, expected, strict=True)):
        wrong += number not in found or not _right(found[number], text, answer)
    return wrong


def _right(row: Mapping[str, Any], text: str, expected: Prediction) -> bool:
    told = (row["text"], row["label"], row["abstained"])
    return told == (text, expected.label, expected.abstained) and abs(row["score"] - expected.score) <= _TOLERANCE


def measure(engine: str, model: Path, rows: Sequence[str], expected: Sequence[Prediction]) -> dict[str, Any]:
    """The rows a second with one worker on one CPU and with two on two, and how many answers were wrong."""
    figures, cpus = dict[str, Any](), sorted(os.sched_getaffinity(0))
    with TemporaryDirectory() as temporary, ExitStack() as held:
        held.callback(os.sched_setaffinity, 0, cpus)
        folder = Path(temporary)
        write_rows(folder / "all", rows)
        write_rows(folder / "few", rows[:_FEW])
        for number in WORKERS:
            os.sched_setaffinity(0, cpus[-number:])  # the engine's own processes too
            start_s = run(engine, model, number, folder / "few", folder / f"few-{number}")
            all_s = run(engine, model, number, folder / "all", folder / f"all-{number}")
            wrong = wrong_rows(rows, expected, folder / f"all-{number}")
            rate = (len(rows) - _FEW) / (all_s - start_s)
            figures[str(number)] = {"start_s": start_s, "all_s": all_s, "rows_per_s": rate, "wrong": wrong}
            print(f"{engine}, workers: {number}: {figures[str(number)]}", file=sys.stderr)
    return figures


def table(document: Mapping[str, Any]) -> str:
    """A row for each engine and number of workers."""
    lines = [
        [
            f"{document['rows']:,} rows",
            "workers",
            "rows/s",
            "times the rows/s of one",
            "start and end, s",
            "rows off by over 0.00001",
        ]
    ]
    for engine, figures in document["engines"].items():
        one = next(iter(figures.values()))["rows_per_s"]
        for workers, row in figures.items():
            shown = (f"{row['rows_per_s']:,.0f}", f"{row['rows_per_s'] / one:.2f}", f"{row['start_s']:.0f}")
            lines.append([engine.capitalize(), workers, *shown, str(row["wrong"])])
    return kept.markdown(lines) + kept.below(document)


def main() -> int:
    """Returns 1 if a row has a wrong answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--engine", choices=ENGINES, help="this one alone")
    parser.add_argument("--rows", type=int, default=100_000)
    kept.add_arguments(parser, "clusters.json")
    given = parser.parse_args()
    engines = [given.engine] if given.engine else list(ENGINES)
    read_manifest(given.model)  # says so where it is none
    for engine in engines:
        if find_spec(_PACKAGES[engine]) is None:
            parser.error(
                f"{engine} is not installed here; pip install pyspark pandas 'ray[data]', or name one --engine"
            )
    rows = list(texts(given.rows))
    expected = expected_rows(given.model, rows)
    about = kept.about([1], model=given.model, beside=given.beside, packages=_PACKAGES.values())
    earlier = earlier_engines(given.out, about, given.rows) if given.engine else {}
    document = about | {"rows": given.rows, "engines": earlier}
    wrong = 0
    for engine in engines:
        figures = measure(engine, given.model, rows, expected)
        wrong += sum(one["wrong"] for one in figures.values())
        document["engines"][engine] = figures
        kept.write(given.out, document)
    print(table(document), end="")
    return int(wrong > 0)


def earlier_engines(path: Path, about: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """What an earlier run found of each engine, where all that the figures are said to be of is as it is now."""
    if not path.is_file():
        return {}
    found = kept.read(path)
    now = {**about, "rows": rows, "created": found["created"]}
    if other := [name for name, value in now.items() if found[name] != value]:
        raise CompressError(f"{path}: is of another run, with other {', '.join(other)}; give another --out")
    return dict(found["engines"])


if __name__ == "__main__":
    kept.program(main)
