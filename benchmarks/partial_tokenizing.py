"""Reading part of a long text: the tokens of the whole one? And how much sooner is there an answer?

python -m benchmarks.partial_tokenizing DATA [MODEL] [--texts N]

``DATA`` is the folder with ``sst2/train.tsv``, on which small tokenizers of each kind of tests/runtime/long_texts.py
are trained; then N made-up texts (default: 1,000,000), some of them pairs, are read whole and in part, from both
ends. ``MODEL`` is an exported folder; it is timed on BBC News articles of 1,800 to 2,200 characters, text in and label
out, with the same tokenizer reading all of each article and a part of it, by turns. Results are in
``results/partial_tokenizing.json``; the command fails where tokens differ.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

import compress
from benchmarks.kept import RESULTS, about, write
from compress.clock import Stopwatch
from compress.demo_assets import bbc_news
from compress.runtime.boundaries import Boundaries
from compress.runtime.partial import Sides
from tests.runtime.long_texts import KINDS, long_pairs, long_texts, make_tokenizer, parts_and_differences

SIDES, LENGTHS, AT_ONCE = ("right", "left"), (9, 32, 33), 500
ROUNDS = 3


def main() -> int:
    """Returns 1 where a text's tokens differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--texts", type=int, default=1_000_000)
    arguments = parser.parse_args()
    trained_on = arguments.data / "sst2" / "train.tsv"
    if not trained_on.is_file():
        parser.error(f"{trained_on}: no such file; DATA is the folder that holds the data set sst2")
    rows = trained_on.read_text(encoding="utf-8").splitlines()[1:2_000]
    lines = [row.split("\t")[0][:80] for row in rows]
    each = -(-arguments.texts // (len(KINDS) * len(SIDES) * len(LENGTHS)))
    fuzzed = [row for kind in KINDS for row in fuzz(kind, lines, each)]
    results: dict[str, Any] = about([1]) | {"texts": sum(row["texts"] for row in fuzzed), "fuzzed": fuzzed}
    if arguments.model:
        results["answer"] = time_answers(arguments.model)
        print(json.dumps(results["answer"]))
    write(RESULTS / "partial_tokenizing.json", results)
    return int(any(row["different"] for row in fuzzed))


def fuzz(kind: str, lines: list[str], count: int) -> Iterator[dict[str, Any]]:
    """A row for each side and length: texts, those of which a part was read, and those whose tokens differ."""
    tokenizer = make_tokenizer(kind, lines)
    words = sorted({word for line in lines for word in line.split()})
    for side in SIDES:
        for length in LENGTHS:
            singles: Iterator[Sides] = ((text,) for text in long_texts(length, words))
            pairs = count // 50 if length > 9 else 0  # whole pairs cut at few tokens need gigabytes
            texts = chain(islice(singles, count - pairs), islice(long_pairs(length, words), pairs))
            row: dict[str, Any] = {
                "kind": kind,
                "side": side,
                "max_length": length,
                "texts": count,
                "in_part": 0,
                "different": 0,
            }
            while some := list(islice(texts, AT_ONCE)):
                parts, different = parts_and_differences(tokenizer, some, length, side)
                row["in_part"] += sum(part != text for part, text in zip(parts, some, strict=True))
                row["different"] += len(different)
            print(json.dumps(row), flush=True)
            yield row


def time_answers(model: Path) -> dict[str, Any]:
    """Medians in milliseconds of answers to articles, read whole and in part, and their ratio."""
    articles = [text for text in bbc_news()[0] if 1_800 <= len(text) <= 2_200][:200]
    times_ms: dict[str, list[float]] = {"whole": [], "part": []}
    with compress.load(model, threads=1) as classifier:
        partial: Any = classifier._predictor.encoder._partial  # type: ignore[union-attr]
        boundaries: dict[str, Boundaries | None] = {"whole": None, "part": partial._boundaries}
        classifier(articles[:50])
        for number in range(ROUNDS):
            for article in articles:
                for way in list(times_ms)[:: 1 - 2 * (number % 2)]:
                    partial._boundaries = boundaries[way]
                    watch = Stopwatch()
                    classifier(article)
                    times_ms[way].append(watch.milliseconds)
    medians = {f"{way}_p50_ms": round(float(np.median(times)), 4) for way, times in times_ms.items()}
    ratio = medians["whole_p50_ms"] / medians["part_p50_ms"]
    return {"articles": len(articles), "max_length": partial._max_length, **medians, "ratio": round(ratio, 2)}


if __name__ == "__main__":
    raise SystemExit(main())
