"""A cascade against its two models on test: python -m benchmarks.cascade SMALL LARGE --data D [--keep FILE].

SMALL and LARGE are classifiers in PyTorch or ONNX. ``compress cascade`` chooses the threshold on the validation split;
the test split is read once, by ``compress bench``, which has the three take turns. The JSON has the accuracy of each on
test, the difference to LARGE in points with its 95% interval, the share handed on, and the mean time from a text to its
answer, of which the ratio to LARGE's is the figure (goal on SST-2 and Banking77: at most 0.6, at most 0.3 points lost).
Before them it has the day, the commit, the machine with its versions, and the digests of both models and of the data.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import compress
from benchmarks.kept import Record, add_keep, markdown, program
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.folder import read_manifest
from compress.formatting import MINUS

GOAL_RATIO, GOAL_DROP_POINTS = 0.6, 0.3


def main() -> None:
    """Join the two, measure all three, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("small", help="a PyTorch or ONNX folder, the faster one")
    parser.add_argument("large", help="the better one")
    parser.add_argument("--data", required=True)
    parser.add_argument("--validation", help="texts to choose the threshold on; 0.3 points need 1,004 at least")
    parser.add_argument("--max-drop", type=float, default=GOAL_DROP_POINTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    add_keep(parser)
    asked = parser.parse_args()
    shared = {"threads": asked.threads, "seconds": asked.seconds}
    source = DataConfig(data=asked.data, validation=asked.validation)
    record = Record(asked.threads)
    with TemporaryDirectory() as place:
        record.tell(measure(asked.small, asked.large, source, asked.max_drop, Path(place), **shared), asked.keep)


def measure(
    small: str | Path, large: str | Path, source: DataConfig, max_drop: float, place: Path, **shared: Any
) -> dict[str, Any]:
    """The figures, with the digests of what they are about; ``place`` gets the cascade and the report."""
    out, report = place / "cascade", place / "report"
    compress.cascade(small, large, source.data, out, validation=source.validation, max_drop=max_drop, **shared)
    compress.bench([large, small, out], source.data, report, **shared)
    made = read_manifest(out).history[-1]
    digests = {"small": made["small"]["digest"], "large": made["parent"]["digest"]}
    entries = json.loads((report / "results.json").read_text(encoding="utf-8"))["models"]
    digests["data"] = read_dataset(source).digest
    return {"digests": digests, "asked": {"max_drop": max_drop, **shared}, **figures(*entries)}


def figures(large: dict[str, Any], small: dict[str, Any], both: dict[str, Any]) -> dict[str, Any]:
    """From the three entries of bench's results.json."""
    named = {"large": large, "small": small, "cascade": both}
    return {
        "goal": {"mean_ratio": GOAL_RATIO, "drop_points": GOAL_DROP_POINTS},
        "test_texts": large["accuracy"]["n"],
        "accuracy": {name: round(entry["accuracy"]["value"], 4) for name, entry in named.items()},
        "drop_points": {name: round(-100 * e["versus_first"]["accuracy_delta"], 2) for name, e in named.items()},
        "drop_ci95_points": [round(-100 * bound, 2) for bound in reversed(both["versus_first"]["ci95"])],
        "handed_on": both["cascade"]["handed_on"],
        "hand_on_below": both["cascade"]["hand_on_below"],
        "answer_ms": {
            name: {each: round(entry[f"answer_{each}_ms"], 3) for each in ("mean", "p50", "p95")}
            for name, entry in named.items()
        },
        "mean_ratio": round(both["answer_mean_ms"] / large["answer_mean_ms"], 3),
    }


def table(results: Mapping[Path, Mapping[str, Any]]) -> str:
    """The figures of each data set, by the file that holds them."""
    heads = ["data, test texts", "small", "large", "cascade", "points lost (95%)", "handed on"]
    lines = [[*heads, "mean time: small", "cascade"]]
    for path, found in results.items():
        right = [f"{found['accuracy'][name]:.1%}" for name in ("small", "large", "cascade")]
        low, high = found["drop_ci95_points"]
        lost = f"{found['drop_points']['cascade']:.1f} ({low:.1f} to {high:.1f})".replace("-", MINUS)
        cells = [f"{path.stem}, {found['test_texts']:,}", *right, lost, f"{found['handed_on']:.1%}"]
        means = [found["answer_ms"][name]["mean"] for name in ("small", "large")]
        lines.append([*cells, f"{means[0] / means[1]:.2f}", f"{found['mean_ratio']:.2f}"])
    return markdown(lines)


if __name__ == "__main__":
    program(main)
