"""Which checkpoint of a distillation to keep, where there are few validation texts to choose by.

    python -m benchmarks.checkpoint_choice OUT.json TEACHER --data ../shared/data/banking77 [--train 3000]
        [--layers 3] [--epochs 8] [--every 25]

A student is trained once, on some of the train texts, and its logits on all validation texts are kept every few steps.
Then smaller validation sets of several sizes are drawn from these many times; each chooses a checkpoint by accuracy, by
agreement with the teacher, or by the Kullback-Leibler divergence from it (at the temperature of the distillation, as
``distill`` does, and at 1), and the other texts tell how good the chosen one is. The teacher must have seen the same
train split only. For tasks with one label a text.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

import compress.distillation.distill as room
from compress.config import DataConfig, DistillConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.distillation.students import make_student
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import Logits, predict_logits
from compress.training.run_files import RunFiles

_SIZES = (100, 200, 300, 500, 1000, 2000)
_DRAWS = 2000
_TEMPERATURE: float = DistillConfig.model_fields["temperature"].default

Scores = npt.NDArray[np.float64]  # [checkpoints, texts], of which a mean over texts says how good a checkpoint is


def train(teacher: Checkpoint, data: Dataset, config: DistillConfig) -> Logits:
    """The student's logits on the validation texts at each validation, ``[checkpoints, texts, labels]``."""
    with tempfile.TemporaryDirectory() as name:
        settings = config.model_copy(update={"teacher_cache": name})
        files = RunFiles(Path(name), Path(name, "unfinished"))
        with kept_logits() as kept:
            room.distill([teacher], make_student(teacher, settings), data, settings, files)
    return np.stack(kept)


@contextmanager
def kept_logits() -> Iterator[list[Logits]]:
    """The logits of each validation that is made meanwhile."""
    kept: list[Logits] = []

    def keep(logits: Logits) -> float:
        kept.append(logits)
        return 0.0

    own = vars(room)["divergence_from"]
    vars(room)["divergence_from"] = lambda *_: keep
    try:
        yield kept
    finally:
        vars(room)["divergence_from"] = own


def criteria(student: Logits, teacher: Logits, targets: npt.NDArray[Any]) -> dict[str, Scores]:
    """For each criterion how good each checkpoint is on each text; the higher, the better."""
    chosen = student.argmax(axis=2)
    right, agreeing = chosen == targets, chosen == teacher.argmax(axis=1)
    divergences = {
        name: -divergence(student.astype(float) / temperature, teacher.astype(float) / temperature)
        for name, temperature in (("divergence", _TEMPERATURE), ("divergence at 1", 1.0))
    }
    return {"accuracy": right.astype(float), "agreement": agreeing.astype(float), **divergences}


def divergence(student: Scores, teacher: Scores) -> Scores:
    """Of each checkpoint's answers from the teacher's, ``[checkpoints, texts]``; both are logits."""
    log_teacher, log_student = log_softmax(teacher, axis=1), log_softmax(student, axis=2)
    return np.asarray((np.exp(log_teacher) * (log_teacher - log_student)).sum(axis=2))


def compare(found: dict[str, Scores], draws: int, seed: int) -> list[dict[str, Any]]:
    """A row for each size of validation set: in percent, the accuracy on all other texts of what each criterion chose.

    ``last`` is the accuracy of the last checkpoint, ``best`` that of the one which is best on those other texts.
    """
    right, rng, rows = found["accuracy"], np.random.default_rng(seed), []
    for size in (size for size in _SIZES if size <= right.shape[1] // 2):
        got: dict[str, list[float]] = {name: [] for name in (*found, "last", "best")}
        for _ in range(draws):
            order = rng.permutation(right.shape[1])
            truth = right[:, order[size:]].mean(axis=1)
            for name, scores in found.items():
                got[name].append(float(truth[scores[:, order[:size]].mean(axis=1).argmax()]))
            got["last"].append(float(truth[-1]))
            got["best"].append(float(truth.max()))
        rows.append({"validation_texts": size} | {name: 100 * float(np.mean(values)) for name, values in got.items()})
    return rows


def main() -> None:
    """Train, draw, print the table, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoint_choice", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--every", type=int, default=25, help="steps between validations")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    whole, teacher = read_dataset(DataConfig(data=str(given.data))), load_classifier(str(given.teacher))
    rows = np.random.default_rng(given.seed).permutation(len(whole.train))[: given.train]
    data = replace(whole, train=whole.train.of_rows(rows))
    settings = {"seed": given.seed, "patience": 1000, "layers": given.layers, "epochs": given.epochs}
    student = train(teacher, data, DistillConfig.parse(settings | {"eval_steps": given.every}))
    answers = predict_logits(TorchPredictor(teacher, "cpu", "fp32"), data.validation.texts)
    targets = data.validation.targets(teacher.labels, data.task)
    found = criteria(student, answers, targets)
    document: dict[str, Any] = {name: str(value) for name, value in vars(given).items() if name != "out"}
    document["teacher_accuracy"] = 100 * float((answers.argmax(axis=1) == targets).mean())
    document["curve"] = {name: each.mean(axis=1).tolist() for name, each in found.items()}
    document["rows"] = compare(found, _DRAWS, given.seed)
    given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"teacher {document['teacher_accuracy']:.1f}%, student {100 * document['curve']['accuracy'][-1]:.1f}%")
    print(" | ".join(document["rows"][0]))
    print("\n".join(" | ".join(f"{value:g}" for value in row.values()) for row in document["rows"]))


if __name__ == "__main__":
    main()
