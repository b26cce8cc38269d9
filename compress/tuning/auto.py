"""auto: from what a model may cost to the best one that keeps to it."""

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
from compress.progress import quietly, say
from compress.steps.step import StepResult, source_paths, split_settings
from compress.tuning.candidates import Candidate
from compress.tuning.cascades import Pair, join, most_pairs, pairs
from compress.tuning.ending import Ending
from compress.tuning.goals import Goals, points
from compress.tuning.ground import Ground
from compress.tuning.judge import judged, make_teacher
from compress.tuning.memory import check_folder
from compress.tuning.planner import Planner
from compress.tuning.plans import Costs, Plan
from compress.tuning.search import next_try
from compress.tuning.tries import Try, best

_SAID_FROM_S = 60.0  # a try that takes longer is announced


def auto(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Search for the best model that meets the goals: students, cuts, a smaller vocabulary, int8.

    Started again with the same ``out``, it goes on where it was stopped; with other goals it uses what was tried.

    Args:
        model: folder or hub id of a fine-tuned classifier, or of an encoder, which is trained first.
        data: texts and labels, as for :func:`compress.finetune`. Half of the validation texts are held back from all
            choices; what the model loses is told by them. The test texts are read once, for the report.
        out: the folder to write: ``best/``, ``front/``, ``report/`` and ``recipe.yaml``, which makes ``best`` again.
        overwrite: forget what ``out`` holds of an earlier search.
        **settings: those of :class:`compress.config.AutoConfig`.

    Raises:
        CompressError: no model meets the goals, which is said after the front is written; or the search cannot begin.
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
    with growing, torch_threads(config.threads):
        return _auto(Ground.of(str(model), source, config, folder, forget=overwrite))


def _auto(ground: Ground) -> StepResult:
    watch, planner = Stopwatch(), Planner(ground)
    planner.tell()
    ground.begin()
    make_teacher(ground)
    search = _Search(ground, planner, ground.goals(), planner.plan())
    say(f"auto: looking for {search.goals}")
    partial = False
    try:
        search.go_on()
    except KeyboardInterrupt:
        if not ground.memory.made:
            raise
        partial = True
        say("auto: interrupted; the best so far is written now")
    return Ending(ground, planner, search.goals).finish(watch, partial=partial)


@dataclass
class _Search:
    """The loop over the tries. ``plan`` grows where these leave time."""

    ground: Ground
    planner: Planner
    goals: Goals
    plan: Plan

    @property
    def tries(self) -> list[Try]:
        return self.ground.memory.tries

    @property
    def costs(self) -> Costs:
        return self.planner.costs().learned(self.tries, self.plan.candidates)

    def go_on(self) -> None:
        """Try until the search is over."""
        told_of_others = False
        for found in chain(self._single_tries(), self._cascade_tries()):
            self.ground.memory.add(found)
            say(self._line(found))
            if self.ground.watch.busy() and not told_of_others:
                told_of_others = True
                say("auto: other programs use this machine's CPUs, so latencies are less sure; stop them if you can")
        if not self.ground.memory.made:
            raise CompressError(f"auto: no model could be made; {self.tries[-1].failed}")

    def _single_tries(self) -> Iterator[Try]:
        """Those of the plan, and of a larger one where there is time, each made when it is asked for."""
        while True:
            while (chosen := self._next(self.plan)) is not None:
                candidate, epochs = chosen
                _say_what_is_made(candidate.label(epochs), self.costs.seconds(candidate, epochs))
                yield self._made(candidate, epochs)
                if candidate in self.plan.candidates and self._may_be_longer(candidate, epochs):
                    # Variants are made of a longer training; a look is not worth its room on the disk.
                    remove(self.ground.tries / candidate.trained(epochs))
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
        """What is left of the hours, but for the cascades."""
        left_s = self.planner.left_s
        return None if left_s is None else left_s - plan.cascades * self.costs.cascade_s

    def _cascade_tries(self) -> Iterator[Try]:
        """Two of the models together, where that may serve the goals better than one."""
        ground, known = self.ground, {each.candidate for each in self.tries}
        for pair in pairs(ground.memory.made, self.goals, len(ground.choosing)) if most_pairs(ground) else []:
            left_s, expected_s = self.planner.left_s, self.costs.cascade_s
            if pair.about.candidate not in known and (left_s is None or expected_s <= left_s):
                _say_what_is_made(pair.about.label, expected_s)
                yield self._joined(pair)

    def _made(self, candidate: Candidate, epochs: float) -> Try:
        """A candidate after so many epochs."""

        def make() -> float:
            done = self.ground.run(self.ground.steps_of(candidate, epochs))
            return sum(result.seconds for result in done.values() if result.step == candidate.command)

        return self._tried(Try(candidate.title, epochs), make)

    def _joined(self, pair: Pair) -> Try:
        """Two models that were tried before, as a cascade; one that is refused is refused for good."""

        def make() -> float:
            join(self.ground, pair)
            return 0.0

        return self._tried(pair.about, make)

    def _tried(self, about: Try, make: Callable[[], float]) -> Try:
        """A model is made, which gives the seconds that training took, then judged; what fails is a try too."""
        watch, train_s = Stopwatch(), 0.0
        try:
            with quietly():
                train_s = make()
                found = judged(self.ground, self.ground.tries / about.label, about)
        except DoesNotPayError:
            found = replace(about, failed="it does not pay", final=True)
        except NotShownError:
            few = f"too few texts to show that it keeps to {points(about.max_drop)}"
            found = replace(about, failed=few, final=True)
        except CompressError as error:
            found = replace(about, failed=str(error))
        return replace(found, seconds=watch.seconds, train_s=train_s)

    def _next(self, plan: Plan) -> tuple[Candidate, float] | None:
        def is_trained(candidate: Candidate, epochs: float) -> bool:
            return (self.ground.tries / candidate.trained(epochs)).is_dir()

        return next_try(plan, self.tries, self.goals, self.costs, self._for_singles_s(plan), is_trained)

    def _line(self, found: Try) -> str:
        if found.failed:
            return f"{found.label}: {'left out' if found.final else 'failed'}: {found.failed}"
        name = metric_name(self.ground.metric)
        shown = f"{found.label}: {name} {found.value:.1%}, {self._cost(found)}"
        chosen = best(self.tries, self.goals)
        so_far = f"best so far {chosen.label}" if chosen else "none meets the goals yet"
        left_s = self.plan.seconds(self.costs, self.tries)
        limit_s = self.planner.left_s
        return (
            f"{shown}; {so_far}; about {in_words(left_s if limit_s is None else max(0.0, min(left_s, limit_s)))} left"
        )

    def _cost(self, found: Try) -> str:
        speed = times(self.goals.whole_ms / found.ms)
        return f"{found.ms:.3g} ms ({speed}), {found.megabytes:.1f} MB, {found.loss:.1f} points lost"


def _say_what_is_made(label: str, expected_s: float) -> None:
    """One line, where it takes long."""
    if expected_s > _SAID_FROM_S:
        say(f"{label}: made now, about {in_words(expected_s)}")
