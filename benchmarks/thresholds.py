"""Thresholds by label against 0.5 for all: python -m benchmarks.thresholds MODEL --data D [--min-precision P].

MODEL is a multi-label classifier, in PyTorch or ONNX; the kept result is of a GoEmotions teacher. ``compress
calibrate`` chooses the thresholds on the validation split; the test split is read once. The JSON has the macro-F1 of
both on test, the difference in points with its paired 95% interval (goal on GoEmotions: 3 points), how many texts get
no label, and both F1s of each label.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import compress
from benchmarks.kept import about, as_json, program
from compress.config import DataConfig
from compress.data.read import read_test
from compress.errors import CompressError
from compress.evaluation.comparison import measure_change
from compress.evaluation.metrics import Indicators, from_counts, measure_accuracy, predictions, text_counts, truth
from compress.folder import read_manifest
from compress.machine import usable_cpus
from compress.runtime.decision import Decision
from compress.task import is_multi_label

GOAL_POINTS = 3.0


def main() -> None:
    """Calibrate, answer the test texts once, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a PyTorch or ONNX folder")
    parser.add_argument("--data", required=True)
    parser.add_argument("--min-precision", type=float, help="percent, in the place of the best F1")
    asked = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "calibrated"
        compress.calibrate(asked.model, asked.data, folder, min_precision=asked.min_precision)
        told = {"model": read_manifest(folder).history[-1]["parent"]["digest"], "goal_points": GOAL_POINTS}
        print(as_json(about([usable_cpus()]) | told | measure(folder, asked.data)), end="")


def measure(folder: Path, data: str) -> dict[str, Any]:
    """The figures of a folder that ``compress calibrate`` wrote, on the test split."""
    manifest, (test, task) = read_manifest(folder), read_test(DataConfig(data=data))
    if not is_multi_label(task):
        raise CompressError(f"{data}: has one label a text; thresholds by label are for multi-label data")
    with compress.load(folder) as classifier:
        logits = classifier.logits(test.texts)
    true = truth(test.targets(manifest.labels, task), len(manifest.labels))
    said = {
        "half": predictions(task, logits),
        "thresholds": predictions(task, logits, Decision.of(manifest).thresholds),
    }
    change = measure_change("macro_f1", said["half"], said["thresholds"], true, seed=0)
    f1 = {name: _f1_by_label(answers, true) for name, answers in said.items()}
    return {
        "test_texts": len(test.texts),
        "macro_f1": {name: round(measure_accuracy("macro_f1", each, true, 0).value, 4) for name, each in said.items()},
        "gain_points": round(100 * change.accuracy_delta, 2),
        "gain_ci95_points": [round(100 * bound, 2) for bound in change.ci95],
        "without_label": {name: round(float((~each.any(axis=1)).mean()), 4) for name, each in said.items()},
        "labels": {
            label: {"n": int(true[:, at].sum())} | {name: round(each[at], 4) for name, each in f1.items()}
            for at, label in enumerate(manifest.labels)
        },
    }


def _f1_by_label(said: Indicators, true: Indicators) -> list[float]:
    columns = (np.s_[:, [at]] for at in range(true.shape[1]))
    sums = (text_counts("macro_f1", said[column], true[column]).sum(axis=0) for column in columns)
    return [float(from_counts("macro_f1", each, len(true))) for each in sums]


if __name__ == "__main__":
    program(main)
