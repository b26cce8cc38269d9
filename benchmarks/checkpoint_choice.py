"""Which checkpoint of a distillation to keep, where there are few validation texts to choose by.

    python -m benchmarks.checkpoint_choice OUT.json --data ../shared/data/banking77 [--train 6000] [--pool 4000]
        [--layers 3] [--epochs 5] [--model demo:minilm]

A teacher and a student are trained once on ``--train`` texts, and the student's and the teacher's logits on a large
pool of other texts are kept at every validation. Then validation sets of several sizes are drawn from the pool many
times; each chooses a checkpoint by accuracy, by agreement with the teacher, or by the Kullback-Leibler divergence from
it, and the rest of the pool tells how good the chosen one is. All texts are of the train split.
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

from benchmarks.training_choices import data_config
from compress.config import DistillConfig, FinetuneConfig
from compress.data import Dataset, Split, read_dataset
from compress.distillation import distill as distillation
from compress.distillation.students import make_student
from compress.modeling.checkpoint import load_for_finetuning
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import Logits, predict_logits
from compress.training import finetune as finetuning
from compress.training import loop
from compress.training.run_files import RunFiles
from compress.training.validator import Validator

_SIZES = (100, 300, 548, 1000, 2000)
_DRAWS = 2000

Scores = npt.NDArray[np.float64]  # [checkpoints, texts], of which a mean over texts says how good a checkpoint is


def draw(folder: Path, train: int, pool: int, seed: int) -> Dataset:
    """``train`` texts to learn from and ``pool`` others as the validation split, all of the train split's."""
    data = read_dataset(data_config(folder))
    rows = np.random.default_rng(seed).permutation(len(data.train))
    chosen, others = rows[:train], rows[train : train + pool]
    return replace(data, train=_rows_of(data.train, chosen), validation=_rows_of(data.train, others))


def train_both(data: Dataset, model: str, finetune: FinetuneConfig, distill: DistillConfig) -> tuple[Logits, Logits]:
    """The teacher's logits on the validation texts, and the student's at each validation, ``[checkpoints, ...]``."""
    with tempfile.TemporaryDirectory() as name:
        files = RunFiles(Path(name), Path(name, "unfinished"))
        start = load_for_finetuning(model, data.task, data.labels, finetune.seed)
        teacher, _ = finetuning.finetune(start, data, finetune, files)
        answers = predict_logits(TorchPredictor(teacher, "cpu", "fp32"), data.validation.texts)
        student = make_student(teacher, distill)
        settings = distill.model_copy(update={"teacher_cache": name})
        with kept_logits() as kept:
            distillation.distill(teacher, student, data, settings, files)
    return answers, np.stack(kept)


@contextmanager
def kept_logits() -> Iterator[list[Logits]]:
    """The logits of each validation that is made meanwhile."""
    kept: list[Logits] = []

    class Keeping(Validator):
        def _logits(self) -> Logits:
            kept.append(super()._logits())
            return kept[-1]

    vars(loop)["Validator"] = Keeping
    try:
        yield kept
    finally:
        vars(loop)["Validator"] = Validator


def criteria(student: Logits, teacher: Logits, targets: npt.NDArray[Any]) -> dict[str, Scores]:
    """For each criterion how good each checkpoint is on each text; the higher, the better."""
    chosen = student.argmax(axis=2)
    log_teacher, log_student = log_softmax(teacher.astype(float), axis=1), log_softmax(student.astype(float), axis=2)
    divergence = (np.exp(log_teacher) * (log_teacher - log_student)).sum(axis=2)
    right = (chosen == targets).astype(float)
    return {"accuracy": right, "agreement": (chosen == teacher.argmax(axis=1)).astype(float), "divergence": -divergence}


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
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--pool", type=int, default=4000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--teacher-epochs", type=int, default=5)
    parser.add_argument("--model", default="demo:minilm")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = draw(given.data, given.train, given.pool, given.seed)
    shared: dict[str, Any] = {"seed": given.seed, "patience": 1000}
    finetune = FinetuneConfig.parse(shared | {"epochs": given.teacher_epochs, "max_length": 64})
    distill = DistillConfig.parse(shared | {"layers": given.layers, "epochs": given.epochs, "eval_steps": 25})
    teacher, student = train_both(data, given.model, finetune, distill)
    found = criteria(student, teacher, data.validation.targets(data.labels, data.task))
    right = found["accuracy"].mean(axis=1)
    teacher_right = float((teacher.argmax(axis=1) == data.validation.targets(data.labels, data.task)).mean())
    document: dict[str, Any] = {name: str(value) for name, value in vars(given).items() if name != "out"}
    document |= {
        "teacher": 100 * teacher_right,
        "curve": {name: each.mean(axis=1).tolist() for name, each in found.items()},
    }
    document["rows"] = rows = compare(found, _DRAWS, given.seed)
    given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"teacher {100 * teacher_right:.1f}%, student {100 * right[-1]:.1f}% after {len(right)} validations")
    print("\n".join([" | ".join(rows[0]), *(" | ".join(f"{value:g}" for value in row.values()) for row in rows)]))


def _rows_of(split: Split, rows: npt.NDArray[Any]) -> Split:
    return Split([split.texts[row] for row in rows], [split.labels[row] for row in rows])


if __name__ == "__main__":
    main()
