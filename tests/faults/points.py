"""Run a small recipe with a fault at one of its file operations, then once more without; the process under LD_PRELOAD.

    LD_PRELOAD=faults.so python -m tests.faults.points FOLDER POINTS MINUTES SEED [SCENARIO ...]

Prints a JSON object a point. Every command is forked from this process, which has run the recipe once, so that nothing
needs to be imported again.
"""

import io
import json
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from compress.cli.main import main as compress_main
from compress.clock import Stopwatch
from compress.durable import read_sealed
from compress.errors import CompressError
from compress.folder import MANIFEST, read_manifest
from tests.faults.library import How, arm, counted
from tests.processes import in_fork
from tests.tiny import STORED_RUN

FAULTS = [how for how in How if how != How.COUNT]
_UUID = re.compile(r"/[0-9a-f]{32}/")


@dataclass(frozen=True)
class Scenario:
    """A command, and the recipe of the run that is in its folder beforehand, if any."""

    recipe: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    more: tuple[str, ...] = ()  # arguments


def _recipe(*names: str, **teacher: Any) -> dict[str, Any]:
    training = {"epochs": 1, "learning_rate": 1e-3, "precision": "fp32", "threads": 1, "batch_size": 16}
    training |= {"checkpoint_seconds": 0}
    steps: dict[str, dict[str, Any]] = {
        "teacher": {"step": "finetune", "model": str(STORED_RUN / "teacher"), **training, **teacher},
        "student": {"step": "distill", "teacher": "teacher", "layers": 1, **training},
        "pruned": {"step": "prune", "model": "student", "teacher": "teacher", "heads": 0.5, **training},
        "onnx": {"step": "export", "model": names[-3], "threads": 1},
        "int8": {"step": "quantize", "model": "onnx", "threads": 1, "max_drop": 100},
    }
    return {"data": str(STORED_RUN / "data"), "steps": {name: steps[name] for name in names}}


def _quantizing() -> dict[str, Any]:
    """The quickest: nothing is trained."""
    step = {"step": "quantize", "model": str(STORED_RUN / "onnx"), "activations": "dynamic", "threads": 1}
    return {"data": str(STORED_RUN / "data"), "steps": {"int8": step | {"max_drop": 100}}}


_SHORT, _LONG = ("teacher", "onnx", "int8"), ("teacher", "student", "pruned", "onnx", "int8")
SCENARIOS = {
    "quantize alone": Scenario(_quantizing()),
    "first run": Scenario(_recipe(*_LONG)),
    "other settings": Scenario(_recipe(*_SHORT), before=_recipe(*_SHORT, learning_rate=2e-3)),
    "--overwrite": Scenario(_recipe(*_SHORT), before=_recipe(*_SHORT), more=("--overwrite",)),
    "teacher cache": Scenario(_recipe("teacher", "student", "onnx", "int8")),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status, or the negative signal; what it said; the operations that it did."""

    status: int
    told: str
    operations: int


class Bench:
    """A folder in which commands run and what must be in it at the end."""

    def __init__(self, place: Path, scenario: Scenario) -> None:
        self.place, self.scenario = place, scenario
        self.below = place / "below"  # where faults happen: the run and the teacher cache
        self.recipe = self._written("recipe", scenario.recipe)
        self.start = place / "start"
        shutil.rmtree(self.start, ignore_errors=True)
        self.below.mkdir(exist_ok=True)
        if scenario.before is not None:
            ended = self._run(self._written("before", scenario.before), ())
            assert ended.status == 0, ended.told
        self.below.rename(self.start)
        self._reset()
        ended = self.run()
        assert ended.status == 0, ended.told
        self.operations, self.expected = ended.operations, contents(self.below)

    def problem(self, how: How, at: int) -> str | None:
        """What went wrong with a fault at operation ``at``, or with the same command after it; None if nothing did."""
        self._reset()
        ended = self.run(how, at)
        if (wrong := _wrong_end(ended, how) or half_written(self.below / "run")) is not None:
            return wrong
        again = self.run()
        if again.status != 0:
            return f"the same command again ends with {again.status}: {again.told[-700:]}"
        found = contents(self.below)
        if found == self.expected:
            return None
        names = [name for name in {**found, **self.expected} if found.get(name) != self.expected.get(name)]
        return f"other files than without a fault: {', '.join(sorted(names))[:300]}"

    def run(self, how: How = How.COUNT, at: int = 0) -> Ended:
        """The scenario's command, in a process of its own."""
        return self._run(self.recipe, self.scenario.more, how, at)

    def _run(self, recipe: Path, more: tuple[str, ...], how: How = How.COUNT, at: int = 0) -> Ended:
        arguments = ["run", str(recipe), "--out", str(self.below / "run"), "--quiet", *more]
        return forked(arguments, self.place / "told", self.below, how, at)

    def _reset(self) -> None:
        shutil.rmtree(self.below, ignore_errors=True)
        shutil.copytree(self.start, self.below)

    def _written(self, name: str, recipe: Mapping[str, Any]) -> Path:
        path = self.place / f"{name}.json"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        return path


def forked(arguments: list[str], told: Path, below: Path, how: How, at: int) -> Ended:
    """``compress`` with these arguments in a fork of this process."""
    read, write = os.pipe()

    def command() -> int:
        os.environ["COMPRESS_CACHE"] = str(below / "cache")
        arm(below, how, at)
        return compress_main(arguments)

    child = in_fork(command, told, at_end=lambda: os.write(write, str(counted()).encode()))
    os.close(write)
    with os.fdopen(read) as pipe:
        operations = pipe.read()
    _, ended = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(ended), told.read_text("utf-8", "replace"), int(operations or 0))


def _wrong_end(ended: Ended, how: How) -> str | None:
    """A killed command says nothing, one that fails says one line; one that was not disturbed says nothing."""
    lines = ended.told.splitlines()
    if ended.status == (-signal.SIGKILL if how == How.KILL else 0):
        return None
    if ended.status == 2 and len(lines) == 1 and lines[0].startswith("compress: ") and how != How.KILL:
        return None
    return f"ended with {ended.status}, and said: {ended.told[-1500:]}"


def half_written(run: Path) -> str | None:
    """A folder under a step's name is whole, whatever happened."""
    for folder in run.glob("[!.]*/") if run.is_dir() else ():
        try:
            if folder.name != "data":
                read_manifest(folder)
            elif not (folder / "dataset.json").is_file():
                return f"{folder} has no dataset.json"
        except CompressError as error:
            return f"half-written: {error}"
    return None


def contents(below: Path) -> dict[str, str]:
    """Digests of all files, without times and without the random names of a cache's shards."""
    found: dict[str, list[str]] = {}
    for path in sorted(below.rglob("*")):
        if path.is_file():
            name = _UUID.sub("/SHARD/", path.relative_to(below).as_posix())
            found.setdefault(name, []).append(sha256(_timeless(path)).hexdigest())
    return {name: " ".join(sorted(digests)) for name, digests in found.items()}


def _timeless(path: Path) -> bytes:
    if path.name != MANIFEST:
        return path.read_bytes()
    raw = read_sealed(path)
    for entry in raw["history"]:
        entry.pop("seconds")
    return json.dumps(raw).encode()


def drawn(operations: Mapping[str, int], points: int, seed: int) -> Iterator[tuple[str, How, int]]:
    """Points spread over the operations of all scenarios: one at random in each of ``points`` equal stretches."""
    rng, total = random.Random(seed), sum(operations.values())
    faults = [FAULTS[number % len(FAULTS)] for number in range(points)]
    rng.shuffle(faults)
    for number, how in enumerate(faults):
        at = rng.randrange(total * number // points, total * (number + 1) // points)
        for name, own in operations.items():
            if at < own:
                yield name, how, at + 1
                break
            at -= own


def main(place: Path, points: int, minutes: float, seed: int, names: Sequence[str]) -> None:
    """Try the points in any order, as many as begin within these minutes, and print what was found."""
    scenarios = {name: SCENARIOS[name] for name in names or SCENARIOS}
    benches: dict[str, Bench] = {}
    for number, (name, scenario) in enumerate(scenarios.items()):
        (folder := place / str(number)).mkdir()
        if not benches:
            _warm_up(folder, list(scenarios.values())[-1])
        benches[name] = Bench(folder, scenario)
    operations = {name: bench.operations for name, bench in benches.items()}
    _say({"operations": operations})
    watch, in_order = Stopwatch(), list(drawn(operations, points, seed))
    for name, how, at in random.Random(seed).sample(in_order, points):
        if watch.seconds > 60 * minutes:
            break
        _say({"scenario": name, "fault": how.name, "at": at, "problem": benches[name].problem(how, at)})


def _warm_up(place: Path, scenario: Scenario) -> None:
    """Run a recipe in this process, so that what comes is imported and set up in all its forks."""
    recipe = place / "warm.json"
    recipe.write_text(json.dumps(scenario.recipe), encoding="utf-8")
    os.environ["COMPRESS_CACHE"] = str(place / "warm-cache")
    with redirect_stdout(io.StringIO()):
        assert compress_main(["run", str(recipe), "--out", str(place / "warm"), "--quiet"]) == 0


def _say(found: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
