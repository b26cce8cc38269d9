"""The loop over the tries: each candidate is made and judged beside the teacher, until the search is over."""

import shutil
from dataclasses import dataclass, replace

from compress.clock import Stopwatch, in_words
from compress.errors import CompressError
from compress.formatting import metric_name, times
from compress.progress import quietly, say
from compress.tuning.candidates import Candidate
from compress.tuning.goals import Goals
from compress.tuning.ground import Ground
from compress.tuning.judge import Judge
from compress.tuning.planner import END_S, Planner
from compress.tuning.search import Costs, Plan, Try, best, next_try

_SAID_FROM_S = 60.0  # a try that takes longer is announced


@dataclass(frozen=True)
class Search:
    """What is tried on which ground, for which goals, and who judges it."""

    ground: Ground
    planner: Planner
    judge: Judge
    goals: Goals
    plan: Plan

    @property
    def tries(self) -> list[Try]:
        """All of them, those of earlier runs too."""
        return self.ground.memory.tries

    @property
    def made(self) -> list[Try]:
        """The tries that have a model."""
        return [each for each in self.tries if not each.failed]

    @property
    def costs(self) -> Costs:
        """What a try takes, as far as it is known by now."""
        return self.planner.costs().learned(self.tries, self.plan.candidates)

    def go_on(self) -> None:
        """Try until the search is over."""
        told_of_others = False
        while (chosen := self._next()) is not None:
            candidate, epochs = chosen
            expected_s = self.costs.seconds(candidate, epochs)
            if expected_s > _SAID_FROM_S:
                say(f"{candidate.label(epochs)}: trained now, about {in_words(expected_s)}")
            found = self._try(candidate, epochs)
            self.ground.memory.add(found)
            say(self._line(found))
            if self.judge.watch.busy() and not told_of_others:
                told_of_others = True
                say("auto: other programs use this machine's CPUs, so latencies are less sure; stop them if you can")
        if not self.made:
            reason = self.tries[-1].failed if self.tries else "there was no time for one, give more --hours"
            raise CompressError(f"auto: no model could be made; {reason}")

    def _try(self, candidate: Candidate, epochs: int) -> Try:
        """Make a candidate's model and judge it; what fails is a try too."""
        ground, watch = self.ground, Stopwatch()
        steps = ground.steps_of(candidate, epochs)
        train_s = 0.0
        try:
            with quietly():
                done = ground.run(steps)
                train_s = sum(result.seconds for result in done.values() if result.step == candidate.command)
                label = candidate.label(epochs)
                found = self.judge.judged(ground.tries / label, Try(candidate.title, epochs))
        except CompressError as error:
            found = Try(candidate.title, epochs, failed=str(error))
        if candidate.command and epochs < self.plan.rungs[-1]:
            shutil.rmtree(ground.tries / candidate.trained(epochs), ignore_errors=True)
        return replace(found, seconds=watch.seconds, train_s=train_s)

    def _next(self) -> tuple[Candidate, int] | None:
        def is_trained(candidate: Candidate, epochs: int) -> bool:
            return (self.ground.tries / candidate.trained(epochs)).is_dir()

        return next_try(self.plan, self.tries, self.goals, self.costs, self._left_s(), is_trained)

    def _left_s(self) -> float | None:
        hours = self.ground.config.hours
        return None if hours is None else 3600 * hours - END_S - self.ground.memory.spent_s

    def _line(self, found: Try) -> str:
        if found.failed:
            return f"{found.label}: failed, {found.failed}"
        name = metric_name(self.ground.metric)
        shown = f"{found.label}: {name} {found.value:.1%}, {self._cost(found)}"
        chosen = best(self.made, self.goals)
        so_far = f"best so far {chosen.label}" if chosen else "none meets the goals yet"
        left_s = max(0.0, self.plan.seconds(self.costs) - sum(each.seconds for each in self.tries))
        limit_s = self._left_s()
        return f"{shown}; {so_far}; about {in_words(left_s if limit_s is None else min(left_s, limit_s))} left"

    def _cost(self, found: Try) -> str:
        speed = times(self.goals.whole_ms / found.ms)
        return f"{found.ms:.3g} ms ({speed}), {found.megabytes:.1f} MB, {found.loss:.1f} points lost"
