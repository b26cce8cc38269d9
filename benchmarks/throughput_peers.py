"""Texts a second against optimum and a plain loop: python -m benchmarks.throughput_peers INT8 [--rounds 3].

10,000 real texts of mixed length in random order (GoEmotions and Banking77 from ``$COMPRESS_DATA`` or ../shared/data,
BBC News from the demo extra), one int8 folder, the same number of threads for all. Each contender is a process of its
own, optimum's in ``.peers/optimum`` (``python -m tests.clients.setup`` makes it); they take turns, in reverse order
every other round. A turn is from texts to labels, tokenizing included, after a warm-up; loading counts for nobody. The
JSON says for each how many times as long it took as ``compress.load`` with an instance a thread, and on how many texts
its label is another.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from statistics import median

from benchmarks.kept import about, as_json
from compress.clock import Stopwatch
from compress.demo_assets import bbc_news
from compress.machine import usable_cpus
from tests.clients.setup import PEERS

WORKER = Path(__file__).with_name("throughput_worker.py")
DATA = Path(os.environ.get("COMPRESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
REFERENCE = "compress.load, instances"
OURS = ("compress.load", REFERENCE, "compress.load, instances, batches", "our tokenizer alone")
PLAIN = ("plain onnxruntime, batch 1", "plain onnxruntime, batch 32")
OPTIMUM = ("optimum, batch 1", "optimum, batch 32")


def main() -> None:
    """All rounds, then the figures on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    asked = parser.parse_args()
    texts = mixed_texts(DATA)[: asked.texts]
    seconds: dict[str, list[float]] = {name: [] for name in (*OURS, *PLAIN, *OPTIMUM)}
    labels: dict[str, list[object]] = {}
    for number in range(asked.rounds):
        for name in sorted(seconds, reverse=bool(number % 2)):
            took, labels[name] = turn(name, asked.folder, asked.threads, texts)
            seconds[name].append(took)
            print(f"round {number + 1}: {name}: {took:.2f} s", file=sys.stderr)
    reference = median(seconds[REFERENCE])
    contenders = {
        name: {
            "seconds": [round(one, 3) for one in all_seconds],
            "texts_per_s": round(len(texts) / median(all_seconds)),
            "times_as_long": round(median(all_seconds) / reference, 2),
            "other_labels": sum(a != b for a, b in zip(labels[name], labels[REFERENCE], strict=True)),
        }
        for name, all_seconds in seconds.items()
    }
    contenders["our tokenizer alone"].pop("other_labels")  # it answers with lengths
    figures = {
        "folder": Path(asked.folder).name,
        "texts": len(texts),
        "threads": asked.threads,
        "contenders": contenders,
    }
    print(as_json(about([asked.threads]) | figures), end="")


def turn(name: str, folder: str, threads: int, texts: list[str]) -> tuple[float, list[object]]:
    """Seconds for all texts, and their labels."""
    python = PEERS / "optimum" / "bin" / "python" if name in OPTIMUM else sys.executable
    command = [python, WORKER, name, folder, str(threads)]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONPATH": "" if name in OPTIMUM else str(WORKER.parents[1]),
    }
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(texts) + "\n")
            process.stdin.flush()
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{name} could not start; run its command to see why: {' '.join(map(str, command))}")
        watch = Stopwatch()
        process.stdin.write("go\n")
        process.stdin.flush()
        labels = json.loads(process.stdout.readline())
        return watch.seconds, labels


def mixed_texts(data: Path) -> list[str]:
    """10,000, the same each time: all of both test splits, the rest from articles."""
    emotions = [json.loads(line)["text"] for line in _lines(data / "goemotions" / "test.jsonl")]
    intents = [row["text"] for row in csv.DictReader(_lines(data / "banking77" / "test.csv"))]
    articles, _ = bbc_news()
    rng = random.Random(0)
    rng.shuffle(articles)
    texts = [*emotions, *intents, *articles[: 10_000 - len(emotions) - len(intents)]]
    rng.shuffle(texts)
    return texts


def _lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(file)


if __name__ == "__main__":
    main()
