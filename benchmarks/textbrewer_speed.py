"""Distillation speed against TextBrewer 0.2.1 (Yang et al. 2020), its usual distiller and its caching one.

python -m benchmarks.textbrewer_speed TEACHER [--data ../shared/data/sst2] [--texts 2048] [--rounds 4]

One teacher, one student (its layers 0, 2, 4), the same train phrases of SST-2, the same mean batch size, threads and
versions of torch and transformers. The contenders take turns, a fresh process each, in reverse order every other round.

What is alike: AdamW, linear warm-up and decay, dropout, one checkpoint at the end, tokens made once. What differs, and
so is what is measured: TextBrewer shuffles texts and pads each batch to its longest, we put texts of like length
together; its GeneralDistiller asks the teacher at every step, its BasicDistiller and we once; it trains the embedding
tables, we leave them as they are unless told otherwise (``all weights``); it computes in fp32, we may in bf16. We also
weigh in hard labels, clip gradients, and validate at the end, which costs us a little and it nothing. Our OpenMP
threads spin only briefly, which matters where the machine is busy: measure on a quiet one.

A turn is timed from outside: a run of 1 epoch and one of 3, from reading the teacher's folder to the saved student.
Half their difference is an epoch of training; the rest of the first is what comes before and after it (loading,
tokens, saving, a teacher asked once). Ours runs the single epoch once more with the teacher's answers at hand, which
tells what asking the teacher took. Imports and a warm-up on 256 texts come first and count for neither.
"""

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks import beside
from benchmarks.kept import RESULTS, about, write
from benchmarks.peers.environments import python_of
from compress.clock import Stopwatch, in_words
from compress.machine import usable_cpus

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".peers"
EPOCHS = 3
LAYERS = [0, 2, 4]
_WARM_UP_TEXTS, _VALIDATION_TEXTS = 256, 500


@dataclass(frozen=True)
class Contender:
    """A way to distil."""

    name: str
    toolkit: str
    settings: dict[str, Any]


CONTENDERS = (
    Contender("TextBrewer", "textbrewer", {"distiller": "GeneralDistiller", "is_caching_logits": False}),
    Contender("TextBrewer, logits cached", "textbrewer", {"distiller": "BasicDistiller", "is_caching_logits": True}),
    Contender("compress fp32, all weights", "compress", {"precision": "fp32", "freeze_embeddings": False}),
    Contender("compress fp32", "compress", {"precision": "fp32"}),
    Contender("compress bf16", "compress", {"precision": "bf16"}),
)


@dataclass(frozen=True)
class Turn:
    """What one process of a contender took.

    Attributes:
        contender: its name.
        start_s: imports and warm-up.
        run_s: a run of 3 epochs from the teacher's folder to the saved student.
        epoch_s: an epoch of training.
        teacher_s: asking the teacher once, before training; None where it is not told apart.
        texts_per_s: of training.
        accuracy: of the student after 3 epochs on 500 held-out phrases, to see that it learned.
    """

    contender: str
    start_s: float
    run_s: float
    epoch_s: float
    teacher_s: float | None
    texts_per_s: float
    accuracy: float


class Process:
    """A worker of one contender; every run is timed here, by the one clock."""

    def __init__(self, contender: Contender, job: dict[str, Any], scratch: Path) -> None:
        self._name = contender.name
        self._scratch = scratch
        python = Path(sys.executable)
        if contender.toolkit == "textbrewer":
            python = python_of("textbrewer", ENVIRONMENTS)
        worker = Path(__file__).with_name("textbrewer_worker.py")
        job = job | {"toolkit": contender.toolkit, "settings": contender.settings}
        self._log = (scratch / "log.txt").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [python, worker, json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(self, data: Path, epochs: int, cache: str) -> tuple[float, float]:
        """Seconds of a whole run, and its student's accuracy."""
        assert self._process.stdin is not None
        request = {"data": data, "epochs": epochs, "scratch": self._scratch, "cache": self._scratch / cache}
        watch = Stopwatch()
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        self._reply()
        seconds = watch.seconds
        return seconds, float(self._reply()["accuracy"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = (self._scratch / "log.txt").read_text(encoding="utf-8").strip().splitlines()
            raise SystemExit(f"{self._name}: the process ended; {log[-1] if log else 'it said nothing'}")
        reply: dict[str, Any] = json.loads(line)
        return reply


def take_turn(contender: Contender, job: dict[str, Any], data: Path, texts: int) -> Turn:
    """Start the contender's process, warm it up and time its runs."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch, Process(contender, job, Path(scratch)) as process:
        process.run(data / "warm-up", 1, "warm-up")
        start_s = watch.seconds
        one_s, _ = process.run(data / "all", 1, "one")
        teacher_s = one_s - process.run(data / "all", 1, "one")[0] if contender.toolkit == "compress" else None
        run_s, accuracy = process.run(data / "all", EPOCHS, "whole")
    epoch_s = (run_s - one_s) / (EPOCHS - 1)
    if epoch_s <= 0:
        raise SystemExit(
            f"{contender.name}: {EPOCHS} epochs took no longer than one; give more --texts or a quiet machine"
        )
    return Turn(contender.name, start_s, run_s, epoch_s, teacher_s, texts / epoch_s, accuracy)


def summarise(rounds: Sequence[Sequence[Turn]]) -> list[dict[str, Any]]:
    """Each contender's medians, and its speed as a multiple of TextBrewer's in the same round, round by round.

    Args:
        rounds: a turn of each contender, in their order, TextBrewer's first.
    """
    rows = []
    for turns in zip(*rounds, strict=True):
        pairs = [(taken[0], turn) for taken, turn in zip(rounds, turns, strict=True)]
        row: dict[str, Any] = {"contender": turns[0].contender}
        for name in ("texts_per_s", "run_s", "teacher_s", "accuracy"):
            found = [getattr(turn, name) for turn in turns]
            row[name] = None if None in found else median(found)
        row["training_ratios"] = [first.epoch_s / turn.epoch_s for first, turn in pairs]
        row["run_ratios"] = [first.run_s / turn.run_s for first, turn in pairs]
        rows.append(row)
    return rows


def write_data(source: Path, texts: int, folder: Path) -> None:
    """Folders ``all``, with ``texts`` random train phrases, and ``warm-up`` with fewer; others are for validation."""
    with (source / "train.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if len(rows) < texts + _VALIDATION_TEXTS:
        raise SystemExit(f"--texts must be at most {len(rows) - _VALIDATION_TEXTS} of {source}, got {texts}")
    random.Random(0).shuffle(rows)
    held_out = rows[-_VALIDATION_TEXTS:]
    for name, count in {"all": texts, "warm-up": _WARM_UP_TEXTS}.items():
        (folder / name).mkdir()
        for split, some in {"train": rows[:count], "validation": held_out, "test": held_out}.items():
            found = (json.dumps({"text": row["sentence"], "label": row["label"]}) + "\n" for row in some)
            (folder / name / f"{split}.jsonl").write_text("".join(found), encoding="utf-8")


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description="distillation speed against TextBrewer")
    parser.add_argument("teacher", type=Path, help="folder of a BERT of 5 layers or more, fine-tuned on SST-2")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "sst2", help="with train.tsv")
    parser.add_argument("--texts", type=int, default=2048, help="train phrases")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS / "textbrewer.json")
    given = parser.parse_args()

    python_of("textbrewer", ENVIRONMENTS)  # made before anything is timed
    threads = usable_cpus()
    job = {
        "teacher": str(given.teacher.resolve()),
        "layers": LAYERS,
        "batch_size": given.batch_size,
        "threads": threads,
    }
    watch = Stopwatch()
    rounds: list[list[Turn]] = []
    partial = given.out.with_suffix(".partial")  # holds the rounds that are done, should a later one fail
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_data(given.data, given.texts, data)
        for number in range(given.rounds):
            order = CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]
            turns = {each.name: take_turn(each, job, data, given.texts) for each in order}
            rounds.append([turns[each.name] for each in CONTENDERS])
            document = about([threads]) | {
                "settings": job | {"data": given.data.name, "texts": given.texts, "epochs": EPOCHS},
                "rows": summarise(rounds),
                "rounds": [[asdict(turn) for turn in turns] for turns in rounds],
            }
            write(partial, document)
            print(f"round {number + 1} of {given.rounds}, {in_words(watch.seconds)}", file=sys.stderr)
    partial.replace(given.out)
    print(beside.distillation(document), end="")


if __name__ == "__main__":
    main()
