"""Choose what to try, and estimate what that takes, so that a search keeps to the hours that the user gives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from compress.clock import in_words
from compress.errors import CompressError
from compress.modeling.widths import Cut, Widths
from compress.progress import say
from compress.tuning.candidates import SPEEDUPS, Candidate, TeacherShape, candidates_of
from compress.tuning.cascades import most_pairs
from compress.tuning.context import SearchContext
from compress.tuning.plans import Costs, Lengths, Plan, largest, plans, smallest_plan
from compress.tuning.teacher import (
    TEACHER_BATCH,
    cuts_of,
    cuts_seconds,
    epoch_seconds,
    full_epochs,
    least_epochs,
    student_batch,
    teacher_settings,
    vocabulary_left,
)

# Estimated latencies and sizes are known to within these factors.
_LATENCY_TOLERANCE, _SIZE_TOLERANCE = 1.2, 1.05
_CUTS_AT_MOST = 1 / 3  # of the hours, for measuring what may be cut
_TRAINING_TO_INT8_ANSWER = 4.0  # a guess at the time of training with a text over that of its answer in int8
_ANSWER_TO_TRAINING = 1 / 3  # time of a text's answer in PyTorch over that of training with it
_VALIDATIONS = 2  # in an epoch, by default
_TRY_S, END_S = 15.0, 60.0  # guesses at the seconds of a try but for its training, and of the report


@dataclass(frozen=True)
class Planner:
    """Chooses the candidates that there is time for."""

    context: SearchContext

    def announce(self) -> None:
        """Say what is planned and about how long the search takes, before anything is done.

        Raises:
            CompressError: there is no time for a single candidate.
        """
        before_s, costs, hours = self._expected_before_s(), self.costs(), self.context.config.hours
        candidates = self._candidates
        needed = _rounded_up((smallest_plan(candidates, self._lengths).seconds(costs) + END_S + before_s) / 3600)
        if hours is not None and hours < needed:
            raise CompressError(f"auto.hours {hours:g} is too short for one candidate; give {needed:g} or more")
        if self._finds_cuts(candidates, before_s):
            before_s += self._cuts_s()
            candidates = _with_cuts(candidates)
        wanted = self._plan(candidates, before_s)
        assert wanted is not None  # there is time for the smallest
        record = self.context.record
        left_s = wanted.seconds(costs, record.tries) + END_S + before_s
        if record.facts.estimated_s is None:
            record.facts.estimated_s = record.seconds + left_s
        say(f"auto: {_summary(wanted)}; about {in_words(left_s)} {'more' if record.tries else 'in all'}")

    def plan(self) -> Plan:
        """The plan for the time that is left, once the teacher is measured; finds the cuts where there is time."""
        record = self.context.record
        candidates = self._candidates
        if self._finds_cuts(candidates, self._spent_before_s):
            with record.stage("cuts"):
                record.facts.cuts = self._find_cuts()
            candidates = self._candidates
        chosen = self._plan(candidates, self._spent_before_s)
        if record.facts.cuts is None and (chosen or not self._may_measure_cuts):
            say(f"auto: measuring cuts would take about {in_words(self._cuts_s())} of your hours, so none is tried")
        if chosen:
            return chosen
        least = smallest_plan(candidates, self._lengths)  # rather than an error, which would waste hours of work
        if self.costs().seconds(least.candidates[-1], least.rungs[0]) > (self.left_s or 0.0):
            took = in_words(self._spent_before_s)
            say(f"auto: what was done so far took {took}, so there is no time for a student; give more --hours")
        return least

    def larger(self, done: Plan, costs: Costs, goes_on: Callable[[Plan], bool]) -> Plan | None:
        """The largest plan that ``goes_on`` after ``done`` and fits into the time left at these ``costs``, or None."""
        if self.left_s is None:  # nothing was left out for want of time
            return None
        tries = self.context.record.tries
        every = (each.after(done, tries) for each in plans(self._candidates, self._lengths, done.cascades))
        plan = largest(filter(goes_on, every), costs, self.left_s, tries)
        if plan is not None:
            say(f"auto: there is time for more: {_summary(plan)}")
        return plan

    @property
    def left_s(self) -> float | None:
        """Seconds left for tries, before the report; None where hours are not limited."""
        return self._left_after_s(self.context.record.spent_s)

    def candidate(self, title: str) -> Candidate:
        """The candidate of that title, whatever goals it was tried for."""
        known = candidates_of(self.context.shape, self.context.record.facts.cuts or {})
        kinds = product(known, (False, True), ("dynamic", "static"), ("int8", "int4"))
        every = (
            replace(each, cuts_vocabulary=cuts, activations=kind, embeddings=words) for each, cuts, kind, words in kinds
        )
        return next(each for each in every if each.title == title)

    def costs(self) -> Costs:
        """Estimates of what tries take, before the first one."""
        context, measured = self.context, self.context.record.facts.whole
        alone_s, texts = self._epoch_s(student_batch(context.data)), len(context.data.train)
        validated = len(context.choosing)
        answers_s = alone_s * _ANSWER_TO_TRAINING * (texts + validated) / texts
        epoch_s = alone_s * (1 + _VALIDATIONS * _ANSWER_TO_TRAINING * validated / texts)
        return Costs(epoch_s, _TRY_S if measured is None else measured.try_s, answers_s)

    def _epoch_s(self, batch_size: int = TEACHER_BATCH) -> float:
        """About the seconds of an epoch of the whole teacher."""
        context, known = self.context, self.context.record.facts.epoch_s
        if batch_size not in known:
            with context.record.stage(f"epoch_{batch_size}_s"):
                known[batch_size] = epoch_seconds(context.start, context.data, batch_size)
        return known[batch_size]

    def _shape(self) -> TeacherShape:
        """The teacher's shape, with the number of tokens that the texts need where the size is limited."""
        context, record = self.context, self.context.record
        if context.config.max_megabytes is None:
            return context.shape
        if record.facts.words is None:
            with record.stage("words"):
                record.facts.words = vocabulary_left(context.start, context.data)
        return replace(context.shape, smaller_vocabulary=record.facts.words, most_mb=context.config.max_megabytes)

    @property
    def _candidates(self) -> list[Candidate]:
        """All known candidates that may keep to the limits."""
        return self._within_limits(candidates_of(self._shape(), self.context.record.facts.cuts or {}))

    def _within_limits(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The teacher, then the candidates that may keep to the limits of latency and size, or the cheapest of all.

        Before the teacher is measured nothing is known of latencies.
        """
        measured, most_mb = self.context.record.facts.whole, self.context.config.max_megabytes
        most_ms, int8_ms = (None, 0.0) if measured is None else (self.context.goals().latency_ms, measured.int8_ms)
        itself, *others = candidates

        def may_meet(candidate: Candidate) -> bool:
            small = most_mb is None or candidate.megabytes <= most_mb * _SIZE_TOLERANCE
            return small and (most_ms is None or candidate.share * int8_ms <= most_ms * _LATENCY_TOLERANCE)

        return [itself, *(list(filter(may_meet, others)) or others[:1])]

    def _plan(self, candidates: Sequence[Candidate], before_s: float) -> Plan | None:
        """The largest plan that fits into the hours, with ``before_s`` for the stages before the tries."""
        every = plans(candidates, self._lengths, most_pairs(self.context))
        return largest(every, self.costs(), self._left_after_s(before_s))

    def _left_after_s(self, spent_s: float) -> float | None:
        hours = self.context.config.hours
        return None if hours is None else 3600 * hours - END_S - spent_s

    @property
    def _lengths(self) -> Lengths:
        full = full_epochs(self.context.data)
        return Lengths(full, least_epochs(self.context.data, full))

    def _expected_before_s(self) -> float:
        """Estimated seconds before the first try, without the cuts."""
        known, context = self.context.record.facts, self.context
        epochs = teacher_settings(context.data)["epochs"] if context.bare and not known.teacher else 0
        return float(epochs * self._epoch_s() + END_S) if epochs else END_S

    @property
    def _spent_before_s(self) -> float:
        """Seconds spent for the present goals, but for the tries that are still there."""
        return self.context.record.spent_before_tries_s

    def _finds_cuts(self, candidates: Sequence[Candidate], before_s: float) -> bool:
        """Whether to find cuts: they are not known, and leave most of the hours, and a plan, to the tries."""
        if self.context.record.facts.cuts is not None or not self._may_measure_cuts:
            return False
        return self._plan(_with_cuts(candidates), before_s + self._cuts_s()) is not None

    @property
    def _may_measure_cuts(self) -> bool:
        """Whether finding the cuts keeps to its part of the hours."""
        hours = self.context.config.hours
        return hours is None or self._cuts_s() <= _CUTS_AT_MOST * 3600 * hours

    def _cuts_s(self) -> float:
        """About the seconds that finding the cuts takes."""
        epoch_s, texts = self._epoch_s(), len(self.context.data.train)
        measured = self.context.record.facts.whole
        ms = measured.int8_ms if measured else 1000 * epoch_s / texts / _TRAINING_TO_INT8_ANSWER
        return cuts_seconds(Widths.of(self.context.start.model), epoch_s, texts, ms)

    def _find_cuts(self) -> dict[float, Cut]:
        say("auto: measuring what heads and neurons cost and what they are worth")
        context = self.context
        data = replace(context.data, validation=context.choosing)
        return cuts_of(context.checkpoint, data, context.threads, context.config.seed)


def _with_cuts(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with the cuts that may be found, whose sizes are not known yet."""
    cuts = [Candidate(f"cut-{speedup:g}x", "prune", {}, 1 / speedup, 0.0) for speedup in SPEEDUPS]
    return [candidates[0], *sorted([*candidates[1:], *cuts], key=lambda each: each.share)]


def _summary(plan: Plan) -> str:
    longest = plan.rungs[-1]
    return f"{len(plan.candidates)} candidates, trained for up to {longest:g} epoch{'s' * (longest != 1)}"


def _rounded_up(hours: float) -> float:
    """Hours rounded up to two digits, as a message gives them: a number that is enough."""
    digit = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return float(f"{math.ceil(hours / digit * (1 + 1e-9)) * digit:.2g}")
