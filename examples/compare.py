"""Teacher and student side by side: python examples/compare.py TEACHER STUDENT TEXTS [--show 10].

TEACHER and STUDENT are model folders, in PyTorch or exported; TEXTS is a file with a text a line. Says how often they
agree, how sure each is and how long each takes for a text, and shows the texts that they disagree on, first those where
both are surest. ``compress bench`` measures more, and with care; this is to look at the texts.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import compress
from compress.clock import Stopwatch

Scores = dict[str, float]
Model = Callable[[str], Scores]


@dataclass(frozen=True, slots=True)
class Answered:
    """What one model says of the texts, and the median time for one."""

    scores: list[Scores]
    median_ms: float

    @property
    def labels(self) -> list[str]:
        """The likeliest label of each text."""
        return [max(scores, key=scores.__getitem__) for scores in self.scores]

    @property
    def confidence(self) -> list[float]:
        """The score of that label."""
        return [max(scores.values()) for scores in self.scores]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A text, and what each model takes it for, with its score."""

    text: str
    teacher: tuple[str, float]
    student: tuple[str, float]


def open_model(folder: Path) -> Model:
    """A model that answers one text with the score of each label, whichever kind of folder it is in."""
    if (folder / "onnx").is_dir():
        classifier = compress.load(folder)
        return lambda text: classifier(text).scores
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    classify: Any = pipeline("text-classification", model, tokenizer=AutoTokenizer.from_pretrained(folder), top_k=None)
    return lambda text: {found["label"]: found["score"] for found in classify([text], truncation=True)[0]}


def ask(model: Model, texts: Iterable[str]) -> Answered:
    """All answers, one text at a time, as a user waits for them."""
    scores, times_ms = [], []
    for text in texts:
        watch = Stopwatch()
        scores.append(model(text))
        times_ms.append(watch.milliseconds)
    return Answered(scores, float(np.median(times_ms)))


def disagreements(texts: list[str], teacher: Answered, student: Answered) -> list[Disagreement]:
    """Texts with different labels, those that both models are surest of first."""
    answers = zip(texts, teacher.labels, teacher.confidence, student.labels, student.confidence, strict=True)
    found = [Disagreement(text, (label, sure), (other, as_sure)) for text, label, sure, other, as_sure in answers]
    differing = [one for one in found if one.teacher[0] != one.student[0]]
    return sorted(differing, key=lambda one: -min(one.teacher[1], one.student[1]))


def report(texts: list[str], teacher: Answered, student: Answered, show: int) -> str:
    """The comparison in words."""
    differing = disagreements(texts, teacher, student)
    agreed = 1 - len(differing) / len(texts)
    lines = [f"{len(texts)} texts; the same label on {agreed:.1%}, another on {len(differing)}", ""]
    for name, answered in (("teacher", teacher), ("student", student)):
        sure = np.array(answered.confidence)
        unsure = f"below 0.6 on {(sure < 0.6).mean():.1%}"
        lines.append(f"{name}: {answered.median_ms:.2f} ms a text; mean score {sure.mean():.3f}, {unsure}")
    for one in differing[:show]:
        (label, certain), (other, as_certain) = one.teacher, one.student
        lines += ["", f"{one.text:.200}", f"    teacher: {label} {certain:.2f}    student: {other} {as_certain:.2f}"]
    return "\n".join(lines)


def main() -> None:
    """The report on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--show", type=int, default=10, help="texts to show")
    asked = parser.parse_args()
    texts = list(filter(str.strip, asked.texts.read_text(encoding="utf-8").splitlines()))
    if not texts:
        sys.exit(f"{asked.texts}: has no texts; put one on each line")
    teacher, student = (ask(open_model(folder), texts) for folder in (asked.teacher, asked.student))
    print(report(texts, teacher, student, asked.show))


if __name__ == "__main__":
    main()
