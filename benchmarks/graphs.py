"""Our int8 graph against the stock export's and OpenVINO's, and against its own int8 products alone.

python -m benchmarks.graphs prepare [--student DIR --data ../shared/data/sst2] [--no-openvino]
python -m benchmarks.graphs measure [--model NAME ...] [--threads 1 2] [--seconds 20]

``prepare`` writes the graphs to ``runs/graphs``: BERT-base and MiniLM with random weights, and a student trained on
SST-2 where one is given. ``measure`` times them, each in a process of its own. They take turns, the order reversed
every round, on the same tokens: fixed shapes, for the student the test sentences as they come, one at a time. A ratio
is the median over the rounds of the peer's median time by ours in the same round. Measure on a quiet machine; parts
that are measured anew replace their rows in ``results/graphs.json``, the others stay, each with the time and versions
that it is of. A file of another CPU is refused.

"int8 products alone" is the floor: a graph of nothing but the ``MatMulInteger`` that the classifier needs. Its time
by ours is the share of the time that a graph of free everything else would take.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import beside
from benchmarks.graphs_models import ROOT, SHAPES, STUDENT, Files, openvino_python, prepare, random_texts
from benchmarks.kept import RESULTS, about, write
from compress.clock import Stopwatch
from compress.machine import describe_machine

KEPT = RESULTS / "graphs.json"
WORK = ROOT / "runs" / "graphs"
FIXED = ((8, 128), (1, 128), (1, 32))
OURS = "compress int8"
_ROUNDS_AT_LEAST = 4
_TURN_MS = 250.0
_PROFILED_CALLS = 5


@dataclass(frozen=True)
class Row:
    """A model under one load.

    Attributes:
        model, load, threads: what was timed.
        p50_ms: by contender, over all rounds.
        ratio: by contender, its time by ours, the median over the rounds.
        accuracy: by contender, where texts have labels.
        by_operator_ms: by contender, milliseconds of a profiled run by operator; empty for real texts.
        rounds: how many there were.
    """

    model: str
    load: str
    threads: int
    p50_ms: dict[str, float]
    ratio: dict[str, float]
    accuracy: dict[str, float]
    by_operator_ms: dict[str, dict[str, float]]
    rounds: int


class Process:
    """A worker with one contender's graph."""

    def __init__(self, path: Path, threads: int) -> None:
        python = openvino_python() if path.suffix == ".xml" else Path(sys.executable)
        command = [str(python), "-m", "benchmarks.graphs_worker", str(path), str(threads)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._path = path

    def ask(self, do: str, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do} | what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._path}: its process ended")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def pool(contenders: Mapping[str, Path], threads: int) -> Iterator[dict[str, Process]]:
    """A process for each of the ``contenders`` whose graph is there."""
    with ExitStack() as stack:
        processes = {}
        for name, path in contenders.items():
            if path.is_file():
                processes[name] = Process(path, threads)
                stack.callback(processes[name].close)
        yield processes


def measure(
    processes: dict[str, Process], batches: Sequence[Any], seconds: float
) -> tuple[dict[str, list[int]], dict[str, list[list[float]]]]:
    """Every contender's answers, and its times in milliseconds, a list a round."""
    answers = {name: process.ask("load", batches=batches) for name, process in processes.items()}
    slowest_ms = max(median(process.ask("turn", calls=4)) for process in processes.values())
    calls = min(max(round(_TURN_MS / slowest_ms), 2), 64)
    times_ms: dict[str, list[list[float]]] = {name: [] for name in processes}
    watch, number = Stopwatch(), 0
    while number < _ROUNDS_AT_LEAST or watch.seconds < seconds or number % 2:
        order = list(processes.items())
        for name, process in order if number % 2 == 0 else reversed(order):
            times_ms[name].append(process.ask("turn", calls=calls))
        number += 1
    return answers, times_ms


def summarise(
    model: str, load: str, threads: int, times_ms: dict[str, list[list[float]]], labels: Sequence[int], answers: Any
) -> Row:
    """The figures of a load, without a profile."""
    middles = {name: [median(turn) for turn in rounds] for name, rounds in times_ms.items()}
    return Row(
        model,
        load,
        threads,
        {name: median([time for turn in rounds for time in turn]) for name, rounds in times_ms.items()},
        {
            name: median(theirs / ours for theirs, ours in zip(middle, middles[OURS], strict=True))
            for name, middle in middles.items()
        },
        {
            name: sum(answer == label for answer, label in zip(found, labels, strict=True)) / len(labels)
            for name, found in answers.items()
            if labels
        },
        {},
        len(middles[OURS]),
    )


def measure_model(model: str, threads: int, seconds: float) -> Iterator[Row]:
    """The rows of a model."""
    files = Files(WORK / model.replace(" ", "-"))
    if not files.contenders[OURS].is_file():
        raise SystemExit(f"{files.folder} has no graphs; run first: python -m benchmarks.graphs prepare")
    with pool(files.contenders, threads) as processes:
        if model == STUDENT:
            processes.pop("int8 products alone").close()
            texts = json.loads((files.folder / "texts.json").read_text(encoding="utf-8"))
            answers, times_ms = measure(processes, [[ids] for ids in texts["ids"]], seconds)
            yield summarise(model, "SST-2 test sentences", threads, times_ms, texts["labels"], answers)
        for batch, length in FIXED:
            _, times_ms = measure(processes, [random_texts(batch, length)], seconds)
            row = summarise(model, f"{batch} x {length}", threads, times_ms, [], {})
            for name, process in processes.items():
                row.by_operator_ms[name] = process.ask("profile", calls=_PROFILED_CALLS)
            yield row


def merge(old: list[dict[str, Any]], new: Row, **more: Any) -> list[dict[str, Any]]:
    """``old`` with ``new`` and what ``more`` is known of it for a row of the same model, load and threads, sorted."""

    def key(row: dict[str, Any]) -> tuple[str, int, str]:
        return row["model"], row["threads"], row["load"]

    rows = {key(row): row for row in [*old, asdict(new) | more]}
    return [rows[found] for found in sorted(rows)]


def main() -> None:
    """Prepare, or measure, print the table and write the results."""
    parser = argparse.ArgumentParser(description="our int8 graph against its peers")
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare")
    preparing.add_argument("--model", nargs="+", choices=[*SHAPES, STUDENT], default=[*SHAPES, STUDENT])
    preparing.add_argument("--student", type=Path, help="PyTorch folder of a classifier trained on SST-2")
    preparing.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "sst2")
    preparing.add_argument("--no-openvino", dest="openvino", action="store_false")
    measuring = commands.add_parser("measure")
    measuring.add_argument("--model", nargs="+", choices=[*SHAPES, STUDENT], default=[*SHAPES, STUDENT])
    measuring.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    measuring.add_argument("--seconds", type=float, default=20.0, help="for each load")
    given = parser.parse_args()

    if given.command == "prepare":
        prepare(WORK, given.model, given.student, given.data, given.openvino)
        return
    earlier(KEPT)  # says so where it is of another CPU
    for model in given.model:
        for threads in given.threads:
            for row in measure_model(model, threads, given.seconds):
                document = save(row)
    print(beside.graphs(document), end="")


def save(row: Row) -> dict[str, Any]:
    """Put a row into the results, at once, so that a run that is cut off keeps what it has; the whole document."""
    old = earlier(KEPT)
    found = {model: sizes(Files(WORK / model.replace(" ", "-"))) for model in [*SHAPES, STUDENT]}
    known = {model: old.get("size_bytes", {}).get(model, {}) | found[model] for model in found}
    document = with_row(old, row) | {"size_bytes": known}
    write(KEPT, document)
    return document


def earlier(path: Path) -> dict[str, Any]:
    """The document of an earlier run, each of its rows with the time and versions of that run; of none, without rows.

    Raises:
        SystemExit: it is of another CPU, so that one document would hold rows that do not compare.
    """
    if not path.is_file():
        return {"rows": []}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    of_run, here = found["machine"], describe_machine([1])
    if any(of_run[name] != here[name] for name in ("cpu", "cpu_flags", "cores")):
        raise SystemExit(
            f"{path}: is of another CPU, {of_run['cpu']} with {of_run['cores']} cores, not {here['cpu']} with "
            f"{here['cores']}; move it away first"
        )
    its = {"created": found["created"], "versions": of_run["versions"]}
    return found | {"rows": [its | row for row in found["rows"]]}


def with_row(old: dict[str, Any], row: Row, **more: Any) -> dict[str, Any]:
    """The document of an :func:`earlier` run with a row that was measured now."""
    threads = sorted({row.threads, *(each["threads"] for each in old["rows"])})
    told = about(threads)
    rows = merge(old["rows"], row, created=told["created"], versions=told["machine"]["versions"], **more)
    return told | {"rows": rows}


def sizes(files: Files) -> dict[str, int]:
    """Bytes of our graphs."""
    graphs = {"fp32": files.folder / "ours.fp32.onnx", "int8": files.contenders[OURS]}
    return {precision: path.stat().st_size for precision, path in graphs.items() if path.is_file()}


if __name__ == "__main__":
    main()
