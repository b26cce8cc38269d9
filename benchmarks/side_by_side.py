"""Pieces of work that run side by side, each in a process of its own, until all is done or the time is over.

A piece of work is a :class:`Task`; what it returns is added to ``OUT/rows.jsonl`` as soon as it is there. What has a
row there is not done again, so that a run which was stopped goes on; :func:`only_with` refuses to go on with other
settings than those that the rows are of.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.kept import Row, about, add_choice, add_line, need_folders, read_lines
from compress.clock import Stopwatch
from compress.formatting import metric_name, percent

ROWS = "rows.jsonl"
_SETTINGS = "settings.sha256"
_WARNED_S = 25.0  # before the end: what can be interrupted is interrupted, and the rest stopped
_LOOK_S = 0.2


@dataclass(frozen=True)
class Place:
    """Where everything is, and how long there is."""

    out: Path
    data: Path
    seconds: float  # infinite where there is no hurry
    watch: Stopwatch = field(default_factory=Stopwatch)  # its clock is the machine's: it goes on in other processes

    @classmethod
    def of(cls, given: argparse.Namespace) -> "Place":
        """What the command line says, from now on."""
        return cls(given.out.resolve(), given.data.resolve(), 60 * given.minutes)

    def folder(self, name: str) -> Path:
        return self.out / name

    def left_s(self) -> float:
        return self.seconds - self.watch.seconds


@dataclass(frozen=True)
class Task:
    """A piece of work for a process of its own.

    Attributes:
        name: unique; its row is found by it.
        work: called with the place and the arguments; it returns what is added to the row.
        needs: the names of tasks that must be done before.
        cpus: how many it takes; all of them where it measures times.
        interruptible: whether Ctrl-C makes it write what it has.
    """

    name: str
    work: Callable[..., Mapping[str, Any]]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()
    cpus: int = 1
    interruptible: bool = False


@dataclass
class _Running:
    """A task's process."""

    task: Task
    process: BaseProcess
    row: Path
    watch: Stopwatch = field(default_factory=Stopwatch)


def parse(
    description: str | None, sets: Sequence[str], results: Path, *, cpus: int, minutes: float, device: str | None = None
) -> argparse.Namespace:
    """The command line of a benchmark that runs so; ``device`` is the default of the option, which is there with it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help=f"the folder that holds {', '.join(sets)}")
    add_choice(parser, "--sets", sets)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=cpus)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--results", type=Path, default=results)
    if device is not None:
        parser.add_argument("--device", default=device, help="that trains: auto, cpu, cuda")
    given = parser.parse_args()
    need_folders(parser, (given.data / name for name in given.sets))
    return given


def run(place: Place, tasks: Sequence[Task], cpus: int, preload: Sequence[str] = ()) -> bool:
    """Keep the CPUs busy, what comes first in ``tasks`` first; returns whether all is done.

    ``preload`` names modules that every process needs: they are imported once.

    Raises:
        SystemExit: a task takes more CPUs than there are, and would never begin.
    """
    largest = max(tasks, key=lambda task: task.cpus)
    if largest.cpus > cpus:
        raise SystemExit(f"--cpus {cpus}: {largest.name} takes {largest.cpus}; give at least as many")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    (place.out / "rows").mkdir(parents=True, exist_ok=True)
    done = {row["task"] for row in read_lines(place.out / ROWS)}
    wanted = [task for task in tasks if task.name not in done]
    running: list[_Running] = []
    warned = False
    while place.left_s() > 0:
        for task in _next([] if warned else wanted, done, cpus - sum(each.task.cpus for each in running)):
            row = place.out / "rows" / f"{task.name.replace('/', '-')}.json"
            process = context.Process(target=_do, args=(task, place, row))
            process.start()
            running.append(_Running(task, process, row))
            wanted.remove(task)
        if not running:
            break  # what is left needs something that failed
        for each in [each for each in running if not each.process.is_alive()]:
            running.remove(each)
            done.update(_finished(place, each))
        if place.left_s() < _WARNED_S and not warned:
            warned = True
            _warn(running)
        time.sleep(_LOOK_S)
    for each in running:
        each.process.kill()
    for name in [*(each.task.name for each in running), *(task.name for task in wanted)]:
        print(f"{name}: not done", flush=True)
    return done.issuperset(task.name for task in tasks)


def only_with(place: Place, *settings: object) -> None:
    """Note the digest of the settings and of where the data are, so that no run goes on with others.

    Raises:
        SystemExit: there are rows of other settings.
    """
    digest, path = hashlib.sha256(repr((place.data, settings)).encode()).hexdigest(), place.out / _SETTINGS
    noted = path.read_text(encoding="utf-8") if path.is_file() else ""
    if noted != digest and read_lines(place.out / ROWS):
        raise SystemExit(f"{place.out}: holds rows of other settings or data; give another folder, or remove this one")
    place.out.mkdir(parents=True, exist_ok=True)
    path.write_text(digest, encoding="utf-8")


def keep(
    path: Path, place: Place, kept: Callable[[Sequence[Row]], Iterable[Mapping[str, Any]]], threads: int, whole: bool
) -> int:
    """Write what is worth keeping of the rows, one JSON document a line, after the machine and the day.

    Where not all is done it goes to OUT instead, marked as partial, so that a whole result stays; the exit status.
    """
    told = about([threads])
    if not whole:
        told["partial"] = True
        path = place.out / path.name
        print(f"not all is done: {path} has what is; {place.out} goes on by the same command", flush=True)
    rows = kept(read_lines(place.out / ROWS))
    path.write_text("".join(json.dumps(row) + "\n" for row in (told, *rows)), encoding="utf-8")
    return int(not whole)


def _next(wanted: Sequence[Task], done: set[str], free: int) -> Iterator[Task]:
    """Those that can begin now; where one does not fit, what matters less waits too."""
    for task in [task for task in wanted if done.issuperset(task.needs)]:
        if task.cpus > free:
            return
        free -= task.cpus
        yield task


def _do(task: Task, place: Place, row: Path) -> None:
    """In its own process: the work, and its row in a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(row.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    row.unlink(missing_ok=True)
    watch = Stopwatch()
    found = dict(task.work(place, *task.arguments))
    row.write_text(json.dumps({"task": task.name, "seconds": watch.seconds, **found}) + "\n", encoding="utf-8")


def _finished(place: Place, ended: _Running) -> Iterator[str]:
    """Say how it ended; its name where it is done, and its row is kept then."""
    print(f"{ended.task.name}: {ended.watch.seconds:.0f} s, {_told(ended.row)}", flush=True)
    if ended.row.is_file():
        add_line(place.out / ROWS, json.loads(ended.row.read_text(encoding="utf-8")))
        yield ended.task.name


def _warn(running: Sequence[_Running]) -> None:
    for each in running:
        assert each.process.pid is not None
        os.kill(each.process.pid, signal.SIGINT if each.task.interruptible else signal.SIGTERM)


def _told(row: Path) -> str:
    """A task's result in a few words."""
    if not row.is_file():
        log = row.with_suffix(".log")
        return f"failed: {log.read_text(encoding='utf-8', errors='replace')[-600:] if log.is_file() else ''}"
    found = json.loads(row.read_text(encoding="utf-8"))
    if "test" in found:
        return f"{metric_name(found['metric'])} {percent(found['test'])} on test"
    return f"{len(found['tries'])} tries {found['said']}" if "tries" in found else "done"
