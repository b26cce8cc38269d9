"""What all tries of a search share: its folder, the data, the teacher and the goals."""

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
from compress.tuning.candidates import ITSELF, Candidate, Steps, TeacherShape
from compress.tuning.goals import Goals
from compress.tuning.promise import divided
from compress.tuning.record import SearchRecord, TeacherTimes
from compress.tuning.teacher import student_settings, teacher_settings
from compress.tuning.tries import Try
from compress.version import __version__

TEACHER = "teacher"


@dataclass(frozen=True)
class SearchContext:
    """The folder of a search, and what all its tries share."""

    folder: Path
    model: str
    config: AutoConfig
    data: Dataset
    choosing: Split  # validation texts to choose by
    held: Split  # validation texts held back from all choices
    start: Checkpoint  # the user's model, with a new head where it had none
    bare: bool  # whether it had none
    record: SearchRecord
    watch: CpuWatch = field(default_factory=CpuWatch)  # looks for other programs while models are timed

    @classmethod
    def of(
        cls, model: str, source: DataConfig, config: AutoConfig, folder: Path, *, forget: bool = False
    ) -> "SearchContext":
        """Read the data and the model; train nothing, write nothing, and forget no earlier search yet.

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
        record = SearchRecord(folder, about, config.model_dump(mode="json"), forget=forget)
        context = cls(folder, model, config, data, *divided(data), start, bare, record)
        context._forget_deleted()
        return context

    def _forget_deleted(self) -> None:
        """Forget the models of an earlier search that the user has deleted, so that they are made again."""

        def is_there(trial: Try) -> bool:
            needed = [trial.label, *filter(None, [trial.small, trial.large])]
            return bool(trial.failed) or all((self.tries / name).is_dir() for name in needed)

        self.record.keep_tries(is_there)
        if self.bare and not self.teacher.is_dir():
            self.record.facts.teacher = False
            self.record.forget_stage("teacher")
        if not ((self.tries / ITSELF).is_dir() and self.answers.is_file()):
            self.record.facts.whole = None
            self.record.forget_stage("whole")

    def begin(self) -> None:
        """Begin to write: the record of the search, and the data for its tries."""
        self.record.begin()
        if not (self.folder / "data").exists():
            with new_folder(self.folder / "data") as place:
                write_dataset(replace(self.data, validation=self.choosing), place)

    @property
    def threads(self) -> int:
        """CPU threads for training and for the models that are timed."""
        return self.config.threads or usable_cpus()

    @property
    def tries(self) -> Path:
        """The folder in which the recipe's run makes all models."""
        return self.folder / "tries"

    @property
    def teacher(self) -> Path:
        """The path of the classifier to be made smaller."""
        return self.tries / TEACHER if self.bare else local_path(self.model)

    @property
    def _model_source(self) -> str:
        """The user's model as an absolute path or a hub id, for a recipe that is read from elsewhere."""
        path = local_path(self.model)
        return str(path.resolve()) if path.exists() else self.model

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The teacher, loaded."""
        return load_classifier(str(self.teacher), pairs=self.data.pairs) if self.bare else self.start

    @property
    def _metric_setting(self) -> dict[str, Any]:
        """The setting of a training for the metric that the user named; without one a training chooses its own."""
        return {} if self.config.metric is None else {"metric": self.config.metric}

    @cached_property
    def metric(self) -> str:
        """The metric in which losses are measured."""
        own = None if self.bare else training_metric(self.start.history)
        return choose_metric(self.config.metric or own, self.data.task, len(self.data.labels))

    def recipe(self, steps: Steps) -> Steps:
        """The ``steps`` with the number of threads, after the teacher's training if it is trained here."""
        if self.bare:
            settings = teacher_settings(self.data) | self._metric_setting
            steps = {TEACHER: {"step": "finetune", "model": self._model_source, **settings}} | steps
        threads = {} if self.config.threads is None else {"threads": self.config.threads}
        return {name: {**step, **threads} for name, step in steps.items()}

    def steps_of(self, candidate: Candidate, epochs: float) -> Steps:
        """All steps that make a candidate's int8 model; the last writes it."""
        teacher = TEACHER if self.bare else self._model_source
        training = student_settings(self.checkpoint, self.data) | self._metric_setting if candidate.command else {}
        # The teacher is measured whatever it loses in int8: a search cannot begin without its figures. Of a model that
        # is in int4 because it would be too large otherwise, a finer form would be too large again.
        any_loss = candidate.name == ITSELF or candidate.embeddings == "int4"
        max_drop = 100.0 if any_loss else self._finer_above
        int8 = {"max_drop": max_drop, "metric": self.metric}
        return self.recipe(candidate.steps(teacher, epochs, training, int8))

    @property
    def _finer_above(self) -> float:
        """The loss in points above which a try is quantized more finely: what two texts can cost, at least one."""
        labels = self.checkpoint.labels
        texts = truth(self.choosing.targets(labels, self.data.task), len(labels)).sum(axis=0)
        counted = {  # one text changes the metric by at most 100 points divided by this
            "accuracy": float(len(self.choosing)),
            "f1": float(texts[positive_column(labels)]),
            "macro_f1": float(min(texts[texts > 0], default=0)) * len(labels) / 2,  # another label's F1 falls too
        }[self.metric]
        return min(100.0, max(1.0, 200 / max(1.0, counted)))

    def run(self, steps: Steps) -> Mapping[str, StepResult]:
        """Run the steps that are not done yet, on the data without the texts held back."""
        recipe = {"data": str(self.folder / "data"), "seed": self.config.seed, "steps": steps}
        return run(Recipe.parse(recipe), self.tries)

    @property
    def answers(self) -> Path:
        """The file of the teacher's logits for :attr:`validation`, written when the teacher is measured."""
        return self.folder / "teacher.npy"

    @property
    def validation(self) -> Split:
        """All validation texts: those to choose by, then those held back."""
        return Split(self.choosing.texts + self.held.texts, self.choosing.labels + self.held.labels)

    def teacher_logits(self) -> tuple[Logits, Logits]:
        """The teacher's logits, ``[n, labels]``, for the texts to choose by and for those held back."""
        logits = np.load(self.answers)
        return logits[: len(self.choosing)], logits[len(self.choosing) :]

    @property
    def times(self) -> TeacherTimes:
        """The latencies of the teacher, which must have been measured."""
        assert self.record.facts.whole is not None
        return self.record.facts.whole

    def goals(self) -> Goals:
        """The goals in milliseconds and megabytes."""
        config, teacher_ms = self.config, self.times.teacher_ms
        latency_ms = teacher_ms / config.speedup if config.speedup else config.target_latency_ms
        return Goals(config.max_drop, latency_ms, config.max_megabytes, teacher_ms)

    @property
    def shape(self) -> TeacherShape:
        """The architecture and widths of the teacher."""
        return TeacherShape(Architecture.of(self.start.model), Widths.of(self.start.model))
