"""What stands before the first try: the data divided, a teacher that is a classifier, its figures, and what to try."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from compress.benchmark.warnings import CpuWatch
from compress.clock import Stopwatch, in_words
from compress.config import AutoConfig, DataConfig
from compress.data import Dataset, Split, read_dataset, write_dataset
from compress.errors import CompressError
from compress.evaluation.balance import measure_balance
from compress.evaluation.metrics import (
    choose_metric,
    measure_accuracy,
    predictions,
    training_metric,
    truth,
)
from compress.machine import usable_cpus
from compress.modeling.checkpoint import Checkpoint, is_classifier, load_classifier, load_for_finetuning
from compress.modeling.widths import Architecture, Cut, Widths
from compress.new_folder import new_folder
from compress.paths import local_path
from compress.progress import quietly, say
from compress.recipes.recipe import Recipe
from compress.recipes.run import digest_source, run
from compress.runtime.predictor import Logits
from compress.steps.step import StepResult, check_labels
from compress.tuning.candidates import ITSELF, SPEEDUPS, Candidate, Steps, Whole, candidates_of
from compress.tuning.goals import Goals
from compress.tuning.judge import Judge, look
from compress.tuning.memory import Memory
from compress.tuning.promise import divided
from compress.tuning.search import Costs, Plan, plan
from compress.tuning.teacher import (
    check_better_than_a_constant,
    cuts_of,
    epoch_seconds,
    full_epochs,
    student_settings,
    teacher_settings,
    words_left,
)
from compress.version import __version__

TEACHER = "teacher"
_FEW_TEXTS = 50
_UNSURE = 1.2  # sizes and latencies are known beforehand to within this
_TRY_S, _LOOK_S, END_S = 15.0, 5.0, 60.0  # a try but for its training, its judging alone, the report: guesses


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

    @classmethod
    def of(cls, model: str, source: DataConfig, config: AutoConfig, folder: Path, *, forget: bool = False) -> "Ground":
        """Read the data and the model; nothing is trained. Only then is an earlier search forgotten.

        Raises:
            CompressError: the model is for other data, or the folder is of another search.
        """
        data = read_dataset(source)
        choose_metric(config.metric, data.task, len(data.labels))
        bare = not is_classifier(model)
        start = (
            load_for_finetuning(model, data.task, data.labels, config.seed)
            if bare
            else load_classifier(model, pairs=data.pairs)
        )
        check_labels(start, data, model)
        about: dict[str, Any] = {"model": digest_source(model), "data": data.digest, "version": __version__}
        about |= {"seed": config.seed, "metric": config.metric, "threads": config.threads or usable_cpus()}
        memory = Memory(folder, about, config.model_dump(mode="json"), forget=forget)
        choosing, held = divided(data)
        if not (folder / "data").exists():
            with new_folder(folder / "data") as place:
                write_dataset(replace(data, validation=choosing), place)
        return cls(folder, model, config, data, choosing, held, start, bare, memory)

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

    @cached_property
    def metric(self) -> str:
        """What losses are measured in."""
        own = training_metric(self.checkpoint.history)
        return choose_metric(self.config.metric or own, self.data.task, len(self.data.labels))

    def recipe(self, steps: Steps) -> Steps:
        """The steps with those before them: the teacher's training, if it is trained here."""
        if self.bare:
            metric = {} if self.config.metric is None else {"metric": self.config.metric}
            settings = teacher_settings(self.data) | metric
            steps = {TEACHER: {"step": "finetune", "model": self._given, **settings}} | steps
        threads = {} if self.config.threads is None else {"threads": self.config.threads}
        return {name: {**step, **threads} for name, step in steps.items()}

    def steps_of(self, candidate: Candidate, epochs: int) -> Steps:
        """All steps that make a candidate's int8 model; the last writes it."""
        name = TEACHER if self.bare else self._given
        metric = {"metric": self.metric}
        training = student_settings(self.checkpoint, self.data) | metric if candidate.command else {}
        int8 = {"max_drop": min(100.0, max(1.0, 200 / len(self.choosing)))} | metric
        return self.recipe(candidate.steps(name, epochs, training, int8))

    def run(self, steps: Steps) -> Mapping[str, StepResult]:
        """Do the steps that are not done yet, on the halved data."""
        whole = {"data": str(self.folder / "data"), "seed": self.config.seed, "steps": steps}
        return run(Recipe.parse(whole), self.tries)

    def make_teacher(self) -> None:
        """Train the model where it is no classifier yet, and look at it beside its int8 model."""
        if self.bare:
            say(f"{self.model} is no classifier yet, so it is trained first")
            self.memory.fact(TEACHER, lambda: str(self.run(self.recipe({}))))
        self.memory.fact("whole", self._look_at_the_teacher)

    def judge(self) -> Judge:
        """Who compares the tries with the teacher.

        Raises:
            CompressError: the teacher is no better than a constant answer.
        """
        whole = self.memory.facts["whole"]
        labels, task = self.checkpoint.labels, self.data.task
        logits = np.load(self._answers)
        both = self._both
        right = truth(both.targets(labels, task), len(labels))
        balance = measure_balance(self.metric, labels, right)
        found = measure_accuracy(self.metric, predictions(task, logits), right, seed=0)
        answer = ", ".join(balance.most_frequent) or "no label"
        check_better_than_a_constant(self.model, self.metric, found.value, balance.always, answer)
        if len(both) < _FEW_TEXTS:
            low, high = (100 * bound for bound in found.ci95)
            say(
                f"auto: there are only {len(both)} validation texts: the teacher's {self.metric.replace('_', '-')} of "
                f"{found.value:.1%} has the 95% interval {low:.1f} to {high:.1f}%, and losses are known no better"
            )
        return Judge(
            self.choosing,
            task,
            labels,
            self.metric,
            logits[: len(self.choosing)],
            whole["teacher_ms"],
            self.tries / ITSELF,
            whole["int8_ms"],
            self.threads,
            CpuWatch(),
        )

    def held_logits(self) -> Logits:
        """The teacher's answers to the texts that are held back."""
        return np.asarray(np.load(self._answers)[len(self.choosing) :], dtype=np.float32)

    def goals(self) -> Goals:
        """The goals in milliseconds and megabytes."""
        config, whole_ms = self.config, float(self.memory.facts["whole"]["teacher_ms"])
        latency_ms = whole_ms / config.speedup if config.speedup else config.target_latency_ms
        return Goals(config.max_drop, latency_ms, config.max_megabytes, whole_ms)

    def costs(self) -> Costs:
        """What a try takes, as far as it is known before the first one."""
        epoch_s = self.memory.fact("epoch_s", lambda: epoch_seconds(self.start, self.data, 32))
        whole = self.memory.facts.get("whole")
        return Costs(epoch_s, _TRY_S if whole is None else whole["try_s"])

    def plan(self, *, told: bool) -> Plan:
        """What to try within the hours that the user gives; before the cuts are known, with cuts as they will be.

        Raises:
            CompressError: there is no time for a single candidate.
        """
        if told:
            found = self.memory.fact("cuts", self._find_cuts)
            cuts = {float(speedup): Cut(**cut) for speedup, cut in found.items()}
            candidates = self._hopeful(candidates_of(self._whole(), cuts))
        else:
            expected = [Candidate(f"cut-{speedup:g}x", "prune", {}, 1 / speedup, 0.0) for speedup in SPEEDUPS]
            candidates = candidates_of(self._shape(), {}) + expected
        budget_s = None if self.config.hours is None else 3600 * self.config.hours - END_S - self._before_s(told)
        costs = self.costs()
        if (chosen := plan(candidates, full_epochs(self.data), costs, budget_s)) is None:
            least = plan(candidates[:2], 1, costs, None)
            assert least is not None
            hours = (least.seconds(costs) + END_S + self._before_s(told)) / 3600
            raise CompressError(
                f"auto.hours {self.config.hours:g} is too short for one candidate; give {1.1 * hours:.2g} or more"
            )
        return chosen

    def candidate(self, title: str) -> Candidate:
        """The one of that title, whatever goals it was tried for."""
        cuts = {float(speedup): Cut(**cut) for speedup, cut in self.memory.facts["cuts"].items()}
        kinds = product(candidates_of(self._shape(), cuts), (False, True), ("dynamic", "static"))
        every = (replace(each, cuts_words=words, activations=kind) for each, words, kind in kinds)
        return next(each for each in every if each.title == title)

    def _shape(self) -> Whole:
        return Whole(Architecture.of(self.start.model), Widths.of(self.start.model))

    def _whole(self) -> Whole:
        """The teacher's shape, with the tokens that the texts need where the size is limited."""
        most_mb, whole = self.config.max_megabytes, self._shape()
        if most_mb is None:
            return whole
        words = self.memory.fact("words", lambda: words_left(self.checkpoint, self.data))
        return replace(whole, words=words, most_mb=most_mb)

    def _hopeful(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that may keep to the limits of latency and size, or the cheapest where none may; the teacher first."""
        goals, whole_ms = self.goals(), float(self.memory.facts["whole"]["int8_ms"])
        itself, *others = candidates

        def may_meet(each: Candidate) -> bool:
            small = goals.megabytes is None or each.megabytes <= goals.megabytes * _UNSURE
            return small and (goals.latency_ms is None or each.share * whole_ms <= goals.latency_ms * _UNSURE)

        return [itself, *([each for each in others if may_meet(each)] or others[:1])]

    def tell(self) -> None:
        """Say what is planned and about how long all of it takes, before anything is done."""
        wanted = self.plan(told=False)
        whole_s = wanted.seconds(self.costs()) + END_S + self._before_s(False)
        self.memory.facts["estimated_s"] = whole_s  # of what is asked now
        count, longest = len(wanted.candidates), wanted.rungs[-1]
        say(f"auto: {count} candidates, trained for up to {longest} epochs; about {in_words(whole_s)} in all")

    def _before_s(self, known: bool) -> float:
        """What is done before the tries takes, as known or expected."""
        if known:
            return self.memory.spent_s - sum(each.seconds for each in self.memory.tries)
        epochs = teacher_settings(self.data)["epochs"] if self.bare else 0
        return float(epochs * self.costs().epoch_s + END_S)

    def _find_cuts(self) -> dict[str, Any]:
        say("auto: measuring what heads and neurons cost and what they are worth")
        found = cuts_of(self.checkpoint, replace(self.data, validation=self.choosing), self.threads, self.config.seed)
        return {str(speedup): asdict(cut) for speedup, cut in found.items()}

    def _look_at_the_teacher(self) -> dict[str, float]:
        watch, itself = Stopwatch(), self._shape().candidate(ITSELF, "", {})
        with quietly():
            self.run(self.steps_of(itself, 0))
        int8_s = watch.seconds
        seen = look({TEACHER: self.teacher, ITSELF: self.tries / ITSELF}, self._both, self.threads, CpuWatch())
        np.save(self._answers, seen[TEACHER].logits)
        say(f"auto: the teacher takes {seen[TEACHER].ms:.3g} ms a text, in int8 {seen[ITSELF].ms:.3g} ms")
        return {"teacher_ms": seen[TEACHER].ms, "int8_ms": seen[ITSELF].ms, "try_s": int8_s + _LOOK_S}

    @property
    def _both(self) -> Split:
        """All validation texts, those to choose by first."""
        return Split(self.choosing.texts + self.held.texts, self.choosing.labels + self.held.labels)

    @property
    def _answers(self) -> Path:
        return self.folder / "teacher.npy"
