"""auto: search for the best model within limits of loss, latency and size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from compress.clock import Stopwatch, in_words
from compress.config import AutoConfig
from compress.decisions.cascade import DoesNotPayError
from compress.decisions.hand_on import NotShownError
from compress.durable import remove
from compress.errors import CompressError
from compress.folder import SEARCH
from compress.formatting import metric_name, times
from compress.machine import processes, torch_threads
from compress.new_folder import check_outside, growing_folder
from compress.paths import local_path
from compress.progress import dropping_held, quietly, say
from compress.steps.step import StepResult, source_paths, split_settings
from compress.training.process_state import left_as_found
from compress.tuning.candidates import Candidate
from compress.tuning.cascades import Pair, join, most_pairs, pairs
from compress.tuning.context import SearchContext
from compress.tuning.ending import Ending
from compress.tuning.goals import Goals, points
from compress.tuning.judge import evaluate_try, make_teacher
from compress.tuning.planner import Planner
from compress.tuning.plans import Costs, Plan
from compress.tuning.record import check_folder
from compress.tuning.search import Proposal, next_try
from compress.tuning.tries import Try, best

_ANNOUNCED_FROM_S = 60.0  # seconds of a try


def auto(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Search for the best model that meets the goals: students, cuts, a smaller vocabulary, int8.

    Started again with the same ``out``, it goes on where it was stopped; with other goals it uses what was tried.

    Args:
        model: folder or hub id of a fine-tuned classifier, or of an encoder, which is trained first.
        data: texts and labels, as for :func:`compress.finetune`. Half of the validation texts are held back from all
            choices, and the loss of the chosen model is measured on them. The test texts are read once, for the report.
        out: the folder to write: ``best/``, ``front/``, ``report/`` and ``recipe.yaml``, which makes ``best`` again.
        overwrite: forget what ``out`` holds of an earlier search.
        **settings: the settings of :class:`compress.config.AutoConfig`, and of the data.

    Raises:
        CompressError: no model meets the goals (the front is written first); or the search cannot begin.
        KeyboardInterrupt: on Ctrl-C, after the best model so far is written, marked partial.
    """
    source, own = split_settings(settings, data)
    config = AutoConfig.parse(own)
    if processes() > 1:
        raise CompressError("auto: runs in one process; start it without torchrun or accelerate launch")
    folder = local_path(out, "--out")
    check_folder(folder, (local_path(model, "MODEL"), *source_paths(source)))
    check_outside(folder, [local_path(model)])
    growing = growing_folder(folder, "search", SEARCH, state_is_worth_keeping=True)
    with dropping_held(), growing, torch_threads(config.threads), left_as_found():
        return _auto(SearchContext.of(str(model), source, config, folder, forget=overwrite))


def _auto(context: SearchContext) -> StepResult:
    watch, planner = Stopwatch(), Planner(context)
    planner.announce()
    context.begin()
    make_teacher(context)
    search = _Search(context, planner, context.goals(), planner.plan())
    say(f"auto: looking for {search.goals}")
    partial = False
    try:
        search.go_on()
    except KeyboardInterrupt:
        if not context.record.made:
            raise
        partial = True
        say("auto: interrupted; the best so far is written now")
    return Ending(context, planner, search.goals).finish(watch, partial=partial)


@dataclass
class _Search:
    """The loop over the tries. ``plan`` grows where they leave time."""

    context: SearchContext
    planner: Planner
    goals: Goals
    plan: Plan

    @property
    def tries(self) -> list[Try]:
        return self.context.record.tries

    @property
    def costs(self) -> Costs:
        return self.planner.costs().learned(self.tries, self.plan.candidates)

    def go_on(self) -> None:
        """Try until the search is over."""
        has_warned = False
        for trial in chain(self._single_tries(), self._cascade_tries()):
            self.context.record.add(trial)
            say(self._line(trial))
            if self.context.watch.busy() and not has_warned:
                has_warned = True
                say("auto: other programs use this machine's CPUs, so latencies are less sure; stop them if you can")
        if not self.context.record.made:
            raise CompressError(f"auto: no model could be made; {self.tries[-1].failed}")

    def _single_tries(self) -> Iterator[Try]:
        """Make the tries of the plan one by one, then those of a larger plan where there is time."""
        while True:
            while (proposal := self._next(self.plan)) is not None:
                candidate, epochs = proposal.candidate, proposal.epochs
                _announce(candidate.label(epochs), self.costs.seconds(candidate, epochs))
                yield self._make(candidate, epochs)
                if candidate in self.plan.candidates and self._may_be_longer(candidate, epochs):
                    # Variants are made from a longer training, so this model would only take room on the disk.
                    remove(self.context.tries / candidate.trained(epochs))
            larger = self.planner.larger(self.plan, self.costs, lambda plan: self._next(plan) is not None)
            if larger is None:
                return
            self.plan = larger

    def _may_be_longer(self, candidate: Candidate, epochs: float) -> bool:
        """Whether there is time for the next rung."""
        rung = next((rung for rung in self.plan.rungs if rung > epochs), None)
        left_s = self._for_singles_s(self.plan)
        return rung is not None and (left_s is None or self.costs.seconds(candidate, rung) <= left_s)

    def _for_singles_s(self, plan: Plan) -> float | None:
        """Seconds left for tries that are not cascades; None where hours are not limited."""
        left_s = self.planner.left_s
        return None if left_s is None else left_s - plan.cascades * self.costs.cascade_s

    def _cascade_tries(self) -> Iterator[Try]:
        """Join two of the models, where that may serve the goals better than one."""
        context, known = self.context, {each.candidate for each in self.tries}
        for pair in pairs(context.record.made, self.goals, len(context.choosing)) if most_pairs(context) else []:
            left_s, expected_s = self.planner.left_s, self.costs.cascade_s
            if pair.about.candidate not in known and (left_s is None or expected_s <= left_s):
                _announce(pair.about.label, expected_s)
                yield self._join(pair)

    def _make(self, candidate: Candidate, epochs: float) -> Try:
        """Try a candidate after ``epochs`` of training."""

        def make() -> float:
            done = self.context.run(self.context.steps_of(candidate, epochs))
            return sum(result.seconds for result in done.values() if result.step == candidate.command)

        return self._try_out(Try(candidate.title, epochs), make)

    def _join(self, pair: Pair) -> Try:
        """Try two models as a cascade; one that is refused is refused for good."""

        def make() -> float:
            join(self.context, pair)
            return 0.0

        return self._try_out(pair.about, make)

    def _try_out(self, about: Try, make: Callable[[], float]) -> Try:
        """Make a model and measure it; ``make`` returns the seconds of training. A failure is recorded as a try too."""
        watch, train_s = Stopwatch(), 0.0
        try:
            with quietly():
                train_s = make()
                trial = evaluate_try(self.context, self.context.tries / about.label, about)
        except DoesNotPayError:
            trial = replace(about, failed="it does not pay", final=True)
        except NotShownError:
            few = f"too few texts to show that it keeps to {points(about.max_drop)}"
            trial = replace(about, failed=few, final=True)
        except CompressError as error:
            trial = replace(about, failed=str(error))
        return replace(trial, seconds=watch.seconds, train_s=train_s)

    def _next(self, plan: Plan) -> Proposal | None:
        def is_trained(proposal: Proposal) -> bool:
            return (self.context.tries / proposal.candidate.trained(proposal.epochs)).is_dir()

        return next_try(plan, self.tries, self.goals, self.costs, self._for_singles_s(plan), is_trained)

    def _line(self, trial: Try) -> str:
        if trial.failed:
            return f"{trial.label}: {'left out' if trial.final else 'failed'}: {trial.failed}"
        name = metric_name(self.context.metric)
        shown = f"{trial.label}: {name} {trial.value:.1%}, {self._cost(trial)}"
        chosen = best(self.tries, self.goals)
        so_far = f"best so far {chosen.label}" if chosen else "none meets the goals yet"
        left_s = self.plan.seconds(self.costs, self.tries)
        limit_s = self.planner.left_s
        return (
            f"{shown}; {so_far}; about {in_words(left_s if limit_s is None else max(0.0, min(left_s, limit_s)))} left"
        )

    def _cost(self, trial: Try) -> str:
        speed = times(self.goals.teacher_ms / trial.ms)
        return f"{trial.ms:.3g} ms ({speed}), {trial.megabytes:.1f} MB, {trial.loss:.1f} points lost"


def _announce(label: str, expected_s: float) -> None:
    """Say that a model is made now, where it takes long."""
    if expected_s > _ANNOUNCED_FROM_S:
        say(f"{label}: made now, about {in_words(expected_s)}")
