"""What `compress auto` finds on four data sets, and whether the test's loss lies in the interval that it promised.

    python -m benchmarks.auto [SET...] [--drops 1,0.3] [--seeds 0] [--hours 0.25] [--data ../shared/data]
                              [--out runs/auto] [--results benchmarks/results/auto.jsonl] [--threads N]

For each data set a teacher is fine-tuned once (the settings of benchmarks/distillation.py). Then every search runs, one
for each drop, seed and number of hours, and adds a line to the results as soon as it is done; what has a line already
is not done again, and a search that was interrupted goes on. One that fails gets a line too, with the reason under
``failed``, and is tried again the next time. Prints the table of all searches; exit status 1 if one of these failed.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import compress
from benchmarks.distillation import METRICS, TEACHERS
from compress.errors import CompressError
from compress.progress import say

RESULTS = Path(__file__).parent / "results" / "auto.jsonl"


def search(name: str, data: Path, out: Path, goal: dict[str, Any], threads: int | None) -> dict[str, Any]:
    """One search over the teacher of a data set, which is trained if it is not there; the line of the results."""
    teacher = out / name / "teacher"
    if not teacher.exists():
        compress.finetune("demo:minilm", data, teacher, **TEACHERS[name], metric=METRICS[name], threads=threads)
    folder = out / name / "-".join(f"{key}-{value:g}" for key, value in goal.items() if value is not None)
    found = compress.auto(teacher, data, folder, **goal, metric=METRICS[name], threads=threads)
    report = json.loads((folder / "report" / "results.json").read_text(encoding="utf-8"))
    by_name = {entry["name"]: entry for entry in report["models"]}
    chosen, itself = by_name["best"], by_name.get("teacher-int8")
    change = chosen["versus_first"]
    int8_ms = itself["answer_p50_ms"] if itself else found.metrics["int8_ms"]
    return {
        "set": name,
        **goal,
        "model": found.metrics["model"],
        "tries": found.metrics["tries"],
        "minutes": round(found.metrics["search_s"] / 60, 1),
        "estimated_minutes": round(found.metrics["estimated_s"] / 60, 1),
        "promised_loss": found.metrics.get("loss_points"),
        "promised_on_test": found.metrics.get("loss_on_test_ci95"),
        "held_back_texts": found.metrics.get("held_back_texts"),
        "test_loss": -100 * change["accuracy_delta"],
        "test_loss_ci95": [-100 * bound for bound in reversed(change["ci95"])],
        "test_texts": report["test_texts"],
        "speedup": change["speedup_answer"],
        "speedup_over_int8": int8_ms / chosen["answer_p50_ms"],
        "megabytes": chosen["size_bytes"] / 1e6,
        "busy": report["busy"],
        "machine": report["machine"]["cpu"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The lines as Markdown, and how many promises held."""
    heads = ["data", "drop", "hours", "seed", "model", "test loss (95%)", "promised", "over PyTorch", "over int8", "MB"]
    lines = [f"| {' | '.join([*heads, 'minutes'])} |", f"|{'---|' * (len(heads) + 1)}"]
    rows, failed = [row for row in rows if "failed" not in row], [row for row in rows if "failed" in row]
    for row in rows:
        low, high = row["test_loss_ci95"]
        promised = "none" if row["promised_on_test"] is None else "{:.1f} to {:.1f}".format(*row["promised_on_test"])
        cells = [row["set"], f"{row['max_drop']:g}", row["hours"] or "as needed", row["seed"], row["model"]]
        cells += [f"{row['test_loss']:.1f} ({low:.1f} to {high:.1f})", promised, f"{row['speedup']:.1f}x"]
        cells += [f"{row['speedup_over_int8']:.1f}x", f"{row['megabytes']:.1f}", row["minutes"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for row in failed:
        cells = [
            row["set"],
            f"{row['max_drop']:g}",
            row["hours"] or "as needed",
            row["seed"],
            f"failed: {row['failed']}",
        ]
        lines.append(f"| {' | '.join(map(str, [*cells, *[''] * (len(heads) + 1 - len(cells))]))} |")
    promised_rows = [row for row in rows if row["promised_on_test"] is not None]
    held = sum(row["promised_on_test"][0] <= row["test_loss"] <= row["promised_on_test"][1] for row in promised_rows)
    summary = f"The promise held for {held} of {len(promised_rows)} winners."
    for drop in sorted({row["max_drop"] for row in rows}):
        own = [row for row in rows if row["max_drop"] == drop]
        loss, fast, over = (np.mean([row[key] for row in own]) for key in ("test_loss", "speedup", "speedup_over_int8"))
        summary += f" Mean at --max-drop {drop:g}: {loss:.2f} points lost, {fast:.1f}x PyTorch, {over:.1f}x int8."
    return "\n".join([*lines, "", summary])


def read(results: Path) -> list[dict[str, Any]]:
    """The lines that are there; of a search that has several, the last one."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    rows = [json.loads(line) for line in lines]
    return list({(row["set"], row["max_drop"], row["hours"], row["seed"]): row for row in rows}.values())


def numbers(text: str) -> list[float]:
    """``1,0.3`` as numbers."""
    return [float(part) for part in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(METRICS)}; default: all")
    parser.add_argument("--drops", type=numbers, default=[1.0, 0.3])
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--hours", type=numbers, default=[None], help="default: as long as auto finds right")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/auto"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(arguments)
    if unknown := set(given.sets) - set(METRICS):
        parser.error(f"no data set {', '.join(sorted(unknown))}; there are {', '.join(METRICS)}")
    failed = False
    for name, drop, hours, seed in product(given.sets or METRICS, given.drops, given.hours, given.seeds):
        goal = {"max_drop": drop, "hours": hours, "seed": int(seed)}
        asked = {"set": name} | goal
        if any(asked.items() <= row.items() and "failed" not in row for row in read(given.results)):
            continue
        say(f"{name}: {goal}")
        try:
            row = search(name, given.data / name, given.out, goal, given.threads)
        except CompressError as error:
            say(f"{name}: {error}")
            failed = True
            row = asked | {"failed": str(error)}
        given.results.parent.mkdir(parents=True, exist_ok=True)
        with given.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    print(table(read(given.results)))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
