"""Play rounds; the process that ``python -m tests.rounds`` starts.

    python -m tests.rounds.played FOLDER ROUNDS MINUTES SEED [KIND ...]

Prints a JSON object a round. All work is forked from this process, so that nothing needs to be imported again.
"""

import io
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import compress
from compress.cli.main import main as compress_main
from compress.clock import Stopwatch
from compress.distillation.teacher_cache.shard import INDEX, is_sound
from tests.faults.points import contents, half_written
from tests.rounds.children import Ended, at_once, can_contain
from tests.runtime.test_beside_a_writer import folders_change_places, steps_write, twin_of
from tests.tiny import STORED_RUN

TEXT = "a superb film"
_RECIPE = {
    "data": str(STORED_RUN / "data"),
    "steps": {
        "onnx": {"step": "export", "model": str(STORED_RUN / "teacher"), "threads": 1},
        "int8": {"step": "quantize", "model": "onnx", "threads": 1, "max_drop": 100},
    },
}
_DISTIL = ("--layers", "1", "--epochs", "1", "--threads", "1", "--precision", "fp32", "--learning-rate", "1e-3")
_RUNS, _STUDENTS, _READERS, _REPLACEMENTS = 2, 4, 2, 4


@dataclass(frozen=True)
class Table:
    """Where a kind of round is played: what is prepared once, and a place that each round finds empty."""

    prepared: Path
    place: Path
    rng: random.Random
    contained: bool = False

    def together(self, *work: Callable[[], int]) -> list[Ended]:
        return at_once(work, self.place.parent, self.rng, contained=self.contained)


def command(*arguments: str | Path) -> Callable[[], int]:
    return lambda: compress_main([*map(str, arguments), "--quiet"])


def disturbed(ended: Sequence[Ended], refusal: str | None) -> str | None:
    """What went wrong: each ends well, or is refused in one line where that is right; one at least ends well."""
    for one in ended:
        refused = one.status == 2 and one.told.count("\n") == 1 and refusal is not None and refusal in one.told
        if one.status != 0 and not refused:
            return f"ended with {one.status}, and said: {one.told[-1500:]}"
    return None if any(one.status == 0 for one in ended) else "none ended well"


def other_files(found: Path, expected: Path) -> str | None:
    one, other = contents(found), contents(expected)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return f"other files than alone: {', '.join(sorted(names))[:300]}" if names else None


# Two runs and one folder ---------------------------------------------------------------------------------------------


def prepare_runs(table: Table) -> None:
    """A recipe, and what it makes when nobody is beside it."""
    (table.prepared / "recipe.json").write_text(json.dumps(_RECIPE), encoding="utf-8")
    assert _run(table)() == 0
    table.place.rename(table.prepared / "alone")


def _run(table: Table) -> Callable[[], int]:
    return command("run", table.prepared / "recipe.json", "--out", table.place / "run")


def play_runs(table: Table) -> str | None:
    """Two runs write one folder: it ends as one run's, and the other says that it is taken or up to date."""
    wrong = disturbed(table.together(*[_run(table)] * _RUNS), "another run is writing there")
    return wrong or half_written(table.place / "run") or other_files(table.place, table.prepared / "alone")


# Four runs and one cache ---------------------------------------------------------------------------------------------


def prepare_cache(table: Table) -> None:
    """The student of a distillation with a cache of its own."""
    assert _distill(table, 0)() == 0
    table.place.rename(table.prepared / "alone")


def _distill(table: Table, number: int) -> Callable[[], int]:
    out, cache = table.place / str(number) / "student", table.place / "cache"
    arguments = ("--data", STORED_RUN / "data", "--out", out, "--teacher-cache", cache, *_DISTIL)
    return command("distill", STORED_RUN / "teacher", *arguments)


def play_cache(table: Table) -> str | None:
    """Four distillations fill one cache: all have the student of one alone, and each text is kept once, whole."""
    wrong = disturbed(table.together(*[_distill(table, number) for number in range(_STUDENTS)]), None)
    for number in range(_STUDENTS):
        wrong = wrong or other_files(table.place / str(number), table.prepared / "alone" / "0")
    return wrong or damaged(table.place / "cache", texts_kept(table.prepared / "alone" / "cache"))


def damaged(cache: Path, texts: int) -> str | None:
    unsound = [path for path in cache.rglob("*.npy") if not is_sound(path.parent, path.stem)]
    if unsound or list(cache.rglob("*.partial")):
        return f"the cache has half-written files: {unsound[:3]}"
    kept = texts_kept(cache)
    return None if kept == texts else f"the cache keeps {kept} texts, and there are {texts}"


def texts_kept(cache: Path) -> int:
    return sum(len(np.load(path)) for path in cache.rglob(f"{INDEX}.npy"))


# Readers beside a writer ---------------------------------------------------------------------------------------------


def prepare_twins(table: Table) -> None:
    """A model and its twin, and what both answer."""
    prepared = table.prepared
    compress.export(STORED_RUN / "teacher", prepared / "0", threads=1)
    twin_of(STORED_RUN / "teacher", prepared)
    with compress.load(prepared / "0", threads=1) as classifier:
        (prepared / "right").write_text(classifier(TEXT).label, encoding="utf-8")


def play_readers(table: Table) -> str | None:
    """A model is replaced by its twin again and again while others load it: each load is one of them, never a mix."""
    how = table.rng.choice((steps_write, folders_change_places))
    write = how(table.place, (table.prepared / "0", table.prepared / "twin"))
    right, over = (table.prepared / "right").read_text(encoding="utf-8"), table.place / "over"
    pauses = [table.rng.uniform(0, 0.1) for _ in range(_REPLACEMENTS)]

    def replace_it() -> int:
        for number, pause in enumerate(pauses):
            write(number + 1)
            time.sleep(pause)
        over.touch()
        return 0

    def read() -> int:
        while not over.exists():
            with compress.load(table.place / "model", threads=1) as classifier:
                found = classifier(TEXT).label
                assert found == right, f"{found}, not {right}: a mix of two models"
        return 0

    wrong = disturbed(table.together(replace_it, *[read] * _READERS), None)
    left = [path.name for path in table.place.glob(".model*")]
    return wrong or (f"left over: {left}" if left else None)


KINDS = {
    "two runs, one folder": (prepare_runs, play_runs, False),
    "four runs, one cache": (prepare_cache, play_cache, False),
    "readers beside a writer": (prepare_twins, play_readers, False),
    "two containers, one folder": (prepare_runs, play_runs, True),
    "four containers, one cache": (prepare_cache, play_cache, True),
}


def main(place: Path, rounds: int, minutes: float, seed: int, names: Sequence[str]) -> None:
    """Play the rounds in turn, as many as begin within these minutes, and print what was found."""
    allowed = can_contain()
    kinds = {name: KINDS[name] for name in names or KINDS if allowed or not KINDS[name][2]}
    if not kinds:
        raise SystemExit("containers need the right to make process numbers of their own (unshare --pid)")
    os.environ["COMPRESS_CACHE"] = str(place / "own-cache")
    plays = {}
    for number, (name, (prepare, play, contained)) in enumerate(kinds.items()):
        table = Table(place / f"{number}-prepared", place / str(number), random.Random(f"{name} {seed}"), contained)
        table.prepared.mkdir()
        with redirect_stdout(io.StringIO()):
            prepare(table)
        plays[name] = partial(play, table), table.place
    watch = Stopwatch()
    for number in range(rounds):
        if watch.seconds > 60 * minutes:
            break
        name = list(plays)[number % len(plays)]
        play_once, folder = plays[name]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        say({"kind": name, "round": number, "problem": play_once()})


def say(found: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
