"""Memory of a loaded model over many texts: python -m benchmarks.resident MODEL [--texts 100000] [--out FILE]

Each way to load it has a process of its own, which answers random texts of 1 to as many words as the model reads
tokens, half of them alone and half in calls of 250. A row tells what the process holds after 1,000, 10,000 and all
texts: ``resident_mb`` (``VmRSS``), of that ``own_mb`` (``RssAnon``: without the pages of files, such as the model's
weights, which come in as texts need them), the peak (``VmHWM``), and the time of a text since the row before.
"""

import argparse
import json
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import compress
from benchmarks import kept
from compress.clock import Stopwatch
from compress.folder import read_manifest

WAYS: dict[str, dict[str, int]] = {
    "one thread": {"threads": 1},
    "one thread, batches of 4,096 tokens": {"threads": 1, "batch_tokens": 4096},
    "two instances": {"threads": 2, "instances": 2},
}
CALL = 250
_MARKS = (1_000, 10_000)
_FIGURES = {"resident_mb": "VmRSS", "own_mb": "RssAnon", "peak_mb": "VmHWM"}


def measure(model: Path, way: str, texts: int) -> list[dict[str, float]]:
    """The rows of one way, of this process."""
    rng, words = random.Random(0), whole_words(model)
    longest = read_manifest(model).max_length
    rows, answered = list[dict[str, float]](), 0
    with compress.load(model, **WAYS[way]) as classifier:
        for mark in (*(mark for mark in _MARKS if mark < texts), texts):
            seconds, before = 0.0, answered
            while answered < mark:
                asked = [" ".join(rng.choices(words, k=rng.randint(1, longest))) for _ in range(2 * CALL)]
                watch = Stopwatch()
                for text in asked[:CALL]:
                    classifier(text)
                classifier(asked[CALL:])
                seconds += watch.seconds
                answered += len(asked)
            rows.append({"texts": answered, **held_mb(), "ms_a_text": 1000 * seconds / (answered - before)})
    return rows


def whole_words(model: Path) -> list[str]:
    """The tokens of a model that are words, so that a text of such words has about as many tokens."""
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    names = (entry if isinstance(entry, str) else entry[0] for entry in vocabulary)  # Unigram's have a score each
    return [word for name in names if (word := name.lstrip("▁Ġ")).isalpha()]


def held_mb() -> dict[str, float]:
    """What this process holds in memory."""
    status = dict(re.findall(r"^(\w+):\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE))
    return {name: int(status[field]) * 1024 / 1e6 for name, field in _FIGURES.items()}


def in_a_process(model: Path, way: str, texts: int) -> list[dict[str, float]]:
    """:func:`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.resident", str(model), "--texts", str(texts), "--way", way]
    rows: list[dict[str, float]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return rows


def growth(rows: Sequence[dict[str, float]]) -> float:
    """Resident memory after all texts, as a multiple of that after the first 1,000."""
    return rows[-1]["resident_mb"] / rows[0]["resident_mb"]


def table(document: Mapping[str, Any]) -> str:
    """A row for each way: what is held after the first texts and after all of them."""
    heads = [f"MB after {row['texts']:,.0f} texts" for row in next(iter(document["ways"].values()))["rows"]]
    lines = [["loaded with", *heads, "growth"]]
    for way, found in document["ways"].items():
        lines.append([way, *(f"{row['resident_mb']:.0f}" for row in found["rows"]), f"{found['growth']:.3f}"])
    return kept.markdown(lines) + kept.below(document)


def main() -> None:
    """All ways, or one of them in this process; JSON on stdout or in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--way", choices=WAYS, help="this one alone, its rows on stdout")
    kept.add_arguments(parser, "resident.json")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.model, given.way, given.texts)))
        return
    about = kept.about([1, 2], model=given.model, beside=given.beside)
    ways: dict[str, Any] = {}
    for way in WAYS:
        rows = in_a_process(given.model, way, given.texts)
        ways[way] = {"growth": growth(rows), "rows": rows}
        print(f"{way}: {growth(rows):.3f} times the memory after the first 1,000 texts", file=sys.stderr)
    kept.write(given.out, {**about, "texts": given.texts, "ways": ways})


if __name__ == "__main__":
    kept.program(main)
