"""Static int8 in batches against dynamic int8 alone: python -m benchmarks.static_batches FP32 --data D [--rounds 5].

Quantizes the fp32 ONNX folder both ways, then ``compress.load`` answers the test texts on one thread, from text to
label, each kind in its default batches and in a process of its own; they take turns, in reverse order every other
round. The JSON has the texts a second of each and how many times as many static answers (goal: 1.4), the share of texts
that both give the same label, the points that each lost on validation, and the texts a second of the tokenizer alone,
which neither can pass.
"""

import argparse
import sys
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import compress
from benchmarks.kept import about, as_json
from benchmarks.throughput_peers import turn
from compress.config import DataConfig
from compress.data.read import read_test

GOAL = 1.4
KINDS = ("dynamic", "static")
TOKENIZER = "our tokenizer alone"


def main() -> None:
    """All rounds, then the figures on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an fp32 ONNX folder, or a PyTorch one")
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=5000, help="of the test split, repeated where it has fewer")
    asked = parser.parse_args()
    test, _ = read_test(DataConfig(data=asked.data))
    texts = [str(text) for text in islice(cycle(test.texts), asked.texts)]
    with TemporaryDirectory() as temporary:
        lost = {kind: quantized(asked.model, asked.data, Path(temporary), kind) for kind in KINDS}
        figures = compare(Path(temporary), texts, asked.rounds)
    shown = {"texts": len(texts), "goal": GOAL} | figures | {"lost_points": lost}
    print(as_json(about([1]) | shown), end="")


def quantized(model: str, data: str, parent: Path, kind: str) -> float:
    """The model with this kind of activations in a folder of that name; the points that it lost."""
    metrics = compress.quantize(model, data, parent / kind, activations=kind, threads=1).metrics
    return float(round(100 * (metrics["parent"] - metrics["quantized"]), 2))


def compare(parent: Path, texts: list[str], rounds: int) -> dict[str, object]:
    """The figures of the folders ``dynamic`` and ``static`` in ``parent``."""
    seconds: dict[str, list[float]] = {kind: [] for kind in (*KINDS, TOKENIZER)}
    labels: dict[str, list[object]] = {}
    for number in range(rounds):
        for name in sorted(seconds, reverse=bool(number % 2)):
            what, folder = ("compress.load", name) if name in KINDS else (name, KINDS[0])
            took, labels[name] = turn(what, str(parent / folder), 1, texts)
            seconds[name].append(took)
            print(f"round {number + 1}: {name}: {took:.2f} s", file=sys.stderr)
    rates = {name: round(len(texts) / median(each)) for name, each in seconds.items()}
    same = sum(one == other for one, other in zip(*(labels[kind] for kind in KINDS), strict=True))
    return {
        "texts_per_s": rates,
        "static_over_dynamic": round(median(seconds["dynamic"]) / median(seconds["static"]), 2),
        "same_label": round(same / len(texts), 4),
    }


if __name__ == "__main__":
    main()
