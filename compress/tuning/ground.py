"""What all tries of a search have in common: its folder, the data divided, the teacher and the goals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from compress.benchmark.contention import CpuWatch
from compress.config import AutoConfig, DataConfig
from compress.data import Dataset, Split, write_dataset
from compress.data.read import read_dataset
from compress.evaluation.metrics import choose_metric, positive_column, training_metric, truth
from compress.machine import usable_cpus
from compress.modeling.checkpoint import Checkpoint, load_classifier, load_for_finetuning, load_model
from compress.modeling.widths import Architecture, Widths
from compress.new_folder import new_folder
from compress.paths import local_path
from compress.recipes.recipe import Recipe
from compress.recipes.run import digest_source, run
from compress.runtime.predictor import Logits
from compress.steps.step import StepResult, check_labels
from compress.tuning.candidates import ITSELF, Candidate, Steps, Whole
from compress.tuning.goals import Goals
from compress.tuning.memory import Memory, WholeTimes
from compress.tuning.promise import divided
from compress.tuning.teacher import student_settings, teacher_settings
from compress.tuning.tries import Try
from compress.version import __version__

TEACHER = "teacher"


@dataclass(frozen=True)
class Ground:
    """The folder of a search with all that its tries have in common."""

    folder: Path
    model: str
    config: AutoConfig
    data: Dataset
    choosing: Split
    held: Split
    start: Checkpoint  # the user's model, perhaps without a head
    bare: bool  # whether it has none
    memory: Memory
    watch: CpuWatch = field(default_factory=CpuWatch)  # for other programs, while models are timed

    @classmethod
    def of(cls, model: str, source: DataConfig, config: AutoConfig, folder: Path, *, forget: bool = False) -> "Ground":
        """Read the data and the model; nothing is trained or written, and no earlier search forgotten.

        Raises:
            CompressError: the model is for other data, or the folder is of another search.
        """
        data = read_dataset(source)
        choose_metric(config.metric, data.task, len(data.labels))
        start = load_model(model, pairs=data.pairs, labels=data.labels)
        bare = not start.labels
        if bare:
            start = load_for_finetuning(model, data.task, data.labels, config.seed)
        check_labels(start, data, model)
        about: dict[str, Any] = {"model": digest_source(model), "data": data.digest, "version": __version__}
        about |= {"seed": config.seed, "metric": config.metric, "threads": config.threads or usable_cpus()}
        memory = Memory(folder, about, config.model_dump(mode="json"), forget=forget)
        ground = cls(folder, model, config, data, *divided(data), start, bare, memory)
        ground._forget_what_is_gone()
        return ground

    def _forget_what_is_gone(self) -> None:
        """What the user has deleted of an earlier search is made again, not looked for."""

        def is_there(found: Try) -> bool:
            needed = [found.label, *filter(None, [found.small, found.large])]
            return bool(found.failed) or all((self.tries / name).is_dir() for name in needed)

        self.memory.keep_tries(is_there)
        if self.bare and not self.teacher.is_dir():
            self.memory.facts.teacher = False
            self.memory.lose("teacher")
        if not ((self.tries / ITSELF).is_dir() and self.answers.is_file()):
            self.memory.facts.whole = None
            self.memory.lose("whole")

    def begin(self) -> None:
        """Write from now on: what is remembered, and the data for the tries."""
        self.memory.begin()
        if not (self.folder / "data").exists():
            with new_folder(self.folder / "data") as place:
                write_dataset(replace(self.data, validation=self.choosing), place)

    @property
    def threads(self) -> int:
        """CPU threads, for training and for what is timed."""
        return self.config.threads or usable_cpus()

    @property
    def tries(self) -> Path:
        """The folder of the run that makes all models."""
        return self.folder / "tries"

    @property
    def teacher(self) -> Path:
        """The classifier to be made smaller."""
        return self.tries / TEACHER if self.bare else local_path(self.model)

    @property
    def _given(self) -> str:
        """The user's model, for a recipe that is read from elsewhere."""
        path = local_path(self.model)
        return str(path.resolve()) if path.exists() else self.model

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The teacher in memory."""
        return load_classifier(str(self.teacher), pairs=self.data.pairs) if self.bare else self.start

    @property
    def _asked_metric(self) -> dict[str, Any]:
        """For a training, which chooses its weights by a metric where the user names one, else as it does by itself."""
        return {} if self.config.metric is None else {"metric": self.config.metric}

    @cached_property
    def metric(self) -> str:
        """What losses are measured in."""
        own = None if self.bare else training_metric(self.start.history)
        return choose_metric(self.config.metric or own, self.data.task, len(self.data.labels))

    def recipe(self, steps: Steps) -> Steps:
        """The steps with those before them: the teacher's training, if it is trained here."""
        if self.bare:
            settings = teacher_settings(self.data) | self._asked_metric
            steps = {TEACHER: {"step": "finetune", "model": self._given, **settings}} | steps
        threads = {} if self.config.threads is None else {"threads": self.config.threads}
        return {name: {**step, **threads} for name, step in steps.items()}

    def steps_of(self, candidate: Candidate, epochs: float) -> Steps:
        """All steps that make a candidate's int8 model; the last writes it."""
        name = TEACHER if self.bare else self._given
        training = student_settings(self.checkpoint, self.data) | self._asked_metric if candidate.command else {}
        # The teacher is measured whatever it loses: a search without it could not begin.
        max_drop = 100.0 if candidate.title == ITSELF else self._finer_above
        int8 = {"max_drop": max_drop, "metric": self.metric}
        return self.recipe(candidate.steps(name, epochs, training, int8))

    @property
    def _finer_above(self) -> float:
        """The points above which a try is quantized in a finer form: what two texts can cost, and at least one."""
        labels = self.checkpoint.labels
        texts = truth(self.choosing.targets(labels, self.data.task), len(labels)).sum(axis=0)
        equal = {  # texts of which each counts as much as one can in this metric
            "accuracy": float(len(self.choosing)),
            "f1": float(texts[positive_column(labels)]),
            "macro_f1": float(min(texts[texts > 0], default=0)) * len(labels) / 2,  # another label's F1 falls too
        }[self.metric]
        return min(100.0, max(1.0, 200 / max(1.0, equal)))

    def run(self, steps: Steps) -> Mapping[str, StepResult]:
        """Do the steps that are not done yet, on the halved data."""
        whole = {"data": str(self.folder / "data"), "seed": self.config.seed, "steps": steps}
        return run(Recipe.parse(whole), self.tries)

    @property
    def answers(self) -> Path:
        """The file of the teacher's logits, written when it is looked at: those of :attr:`validation`."""
        return self.folder / "teacher.npy"

    @property
    def validation(self) -> Split:
        """All validation texts, those to choose by first."""
        return Split(self.choosing.texts + self.held.texts, self.choosing.labels + self.held.labels)

    def teacher_logits(self) -> tuple[Logits, Logits]:
        """The teacher's answers to the texts to choose by, and to those that are held back."""
        found = np.load(self.answers)
        return found[: len(self.choosing)], found[len(self.choosing) :]

    @property
    def times(self) -> WholeTimes:
        """How fast the teacher is, which has been looked at."""
        assert self.memory.facts.whole is not None
        return self.memory.facts.whole

    def goals(self) -> Goals:
        """The goals in milliseconds and megabytes."""
        config, whole_ms = self.config, self.times.teacher_ms
        latency_ms = whole_ms / config.speedup if config.speedup else config.target_latency_ms
        return Goals(config.max_drop, latency_ms, config.max_megabytes, whole_ms)

    @property
    def shape(self) -> Whole:
        """The teacher's."""
        return Whole(Architecture.of(self.start.model), Widths.of(self.start.model))
