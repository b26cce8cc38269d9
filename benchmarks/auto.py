"""What `compress auto` finds on four data sets, and whether the test's loss lies in the interval that it promised.

    python -m benchmarks.auto [--sets SET...] [--drops 1,0.3] [--seeds 0] [--hours 0.25] [--data ../shared/data]
                              [--out runs/auto] [--results benchmarks/results/auto.jsonl] [--threads N]

For each data set a teacher is fine-tuned once (the settings of benchmarks/distillation.py). Then every search runs, one
for each drop, seed and number of hours, and adds a line to the results as soon as it is done; what has a line already
is not done again, and a search that was interrupted goes on. One that fails gets a line too, with the reason under
``failed``, and is tried again the next time. Prints the table of all searches; exit status 1 if one of these failed.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import compress
from benchmarks.distillation import METRICS, TEACHERS
from benchmarks.kept import RESULTS, Row, add_choice, commit, each_once, markdown, need_folders, read_last
from compress.benchmark.report.speedup import answer_ms, average_of


def search(asked: Row, given: argparse.Namespace) -> Row:
    """One search over the teacher of a data set, which is trained if it is not there."""
    name = asked["set"]
    goal = {key: value for key, value in asked.items() if key != "set"}
    data, out, metric = given.data / name, given.out / name, METRICS[name]
    teacher = out / "teacher"
    if not teacher.exists():
        compress.finetune("demo:minilm", data, teacher, **TEACHERS[name], metric=metric, threads=given.threads)
    folder = out / "-".join(f"{key}-{value:g}" for key, value in goal.items() if value is not None)
    return figures(teacher, data, folder, **goal, metric=metric, threads=given.threads)


def figures(teacher: Path, data: Path, folder: Path, **settings: Any) -> Row:
    """What ``compress auto`` with these settings finds: what it promises of the winner, and what the test texts say."""
    found = compress.auto(teacher, data, folder, **settings).metrics
    report = json.loads((folder / "report" / "results.json").read_text(encoding="utf-8"))
    by_name = {entry["name"]: entry for entry in report["models"]}
    chosen, itself = by_name["best"], by_name.get("teacher-int8")
    change = chosen["versus_first"]
    timed = "int8_mean_ms" if average_of(chosen) == "mean" else "int8_ms"  # as the winner's is
    int8_ms = answer_ms(itself) if itself else found[timed]
    picked = next(each for each in report["search"]["tries"] if each["name"] == found["model"])
    return {
        "model": found["model"],
        "tries": found["tries"],
        "minutes": round(found["search_s"] / 60, 1),
        "estimated_minutes": round(found["estimated_s"] / 60, 1),
        "loss_when_picked": picked["loss"],
        "promised_loss": found.get("loss_points"),
        "promised_on_test": found.get("loss_on_test_ci95"),
        "held_back_texts": found.get("held_back_texts"),
        "test_loss": -100 * change["accuracy_delta"],
        "test_loss_ci95": [-100 * bound for bound in reversed(change["ci95"])],
        "test_texts": report["test_texts"],
        "speedup": change["speedup_answer"],
        "speedup_over_int8": int8_ms / answer_ms(chosen),
        "megabytes": chosen["size_bytes"] / 1e6,
        "busy": report["busy"],
        "machine": report["machine"],
        "created": report["created"],
        "commit": commit(),
    }


def with_interval(loss: float, ci95: Sequence[float]) -> str:
    """``0.5 (-0.3 to 1.4)``."""
    return f"{loss:.1f} ({_interval(ci95)})"


def promised(row: Row) -> str:
    """The interval of the test's loss that was promised."""
    return "none" if row["promised_on_test"] is None else _interval(row["promised_on_test"])


def _interval(ci95: Sequence[float]) -> str:
    low, high = ci95
    return f"{low:.1f} to {high:.1f}"


def held(row: Row) -> bool:
    """Whether the test's loss lies in the interval that was promised."""
    low, high = row["promised_on_test"]
    return bool(low <= row["test_loss"] <= high)


def how_many_held(rows: Iterable[Row]) -> str:
    """In a sentence; a winner of which nothing was promised does not count."""
    those = [row for row in rows if row["promised_on_test"] is not None]
    return f"The promise held for {sum(map(held, those))} of {len(those)} winners."


def table(rows: list[Row]) -> str:
    """The lines as Markdown, and how many promises held."""
    heads = ["data", "drop", "hours", "seed", "model", "test loss (95%)", "promised", "over PyTorch", "over int8", "MB"]
    failed, rows = [row for row in rows if "failed" in row], [row for row in rows if "failed" not in row]
    cells = [
        [
            *_asked(row),
            row["model"],
            with_interval(row["test_loss"], row["test_loss_ci95"]),
            promised(row),
            f"{row['speedup']:.1f}x",
            f"{row['speedup_over_int8']:.1f}x",
            f"{row['megabytes']:.1f}",
            row["minutes"],
        ]
        for row in rows
    ]
    cells += [[*_asked(row), f"failed: {row['failed']}"] for row in failed]
    summary = how_many_held(rows)
    for drop in sorted({row["max_drop"] for row in rows}):
        own = [row for row in rows if row["max_drop"] == drop]
        loss, fast, over = (np.mean([row[key] for row in own]) for key in ("test_loss", "speedup", "speedup_over_int8"))
        summary += f" Mean at --max-drop {drop:g}: {loss:.2f} points lost, {fast:.1f}x PyTorch, {over:.1f}x int8."
    return f"{markdown([[*heads, 'minutes'], *cells], words=len(heads) + 1)}\n{summary}"


def _asked(row: Row) -> list[object]:
    return [row["set"], f"{row['max_drop']:g}", row["hours"] or "as needed", row["seed"]]


def numbers(text: str) -> list[float]:
    """``1,0.3`` as numbers."""
    return [float(part) for part in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_choice(parser, "--sets", METRICS)
    parser.add_argument("--drops", type=numbers, default=[1.0, 0.3])
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--hours", type=numbers, default=[None], help="default: as long as auto finds right")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/auto"))
    parser.add_argument("--results", type=Path, default=RESULTS / "auto.jsonl")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(arguments)
    need_folders(parser, (given.data / name for name in given.sets))
    wanted = [
        {"set": name, "max_drop": drop, "hours": hours, "seed": int(seed)}
        for name, drop, hours, seed in product(given.sets, given.drops, given.hours, given.seeds)
    ]
    whole = each_once(given.results, wanted, lambda asked: search(asked, given))
    print(table(read_last(given.results, wanted[0])))
    return int(not whole)


if __name__ == "__main__":
    sys.exit(main())
