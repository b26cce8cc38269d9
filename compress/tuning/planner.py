"""What to try, and what all of it takes: within the hours that the user gives, before and after it is measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from compress.clock import in_words
from compress.errors import CompressError
from compress.modeling.widths import Cut, Widths
from compress.progress import say
from compress.tuning.candidates import SPEEDUPS, Candidate, Whole, candidates_of
from compress.tuning.cascades import most_pairs
from compress.tuning.ground import Ground
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
    words_left,
)

_UNSURE = 1.2  # sizes and latencies are known beforehand to within this
_CUTS_AT_MOST = 1 / 3  # of the hours, for measuring what may be cut
_TRAINED_TO_ANSWERED = 4.0  # time of training with a text over that of its answer in int8, a guess
_ANSWERED_TO_TRAINED = 1 / 3  # time of a text's answer in PyTorch over that of training with it
_VALIDATIONS = 2  # in an epoch, by default
_TRY_S, END_S = 15.0, 60.0  # a try but for its training, the report: guesses


@dataclass(frozen=True)
class Planner:
    """The candidates that there is time for, on the ground of a search."""

    ground: Ground

    def tell(self) -> None:
        """Say what is planned and about how long all of it takes, before anything is done.

        Raises:
            CompressError: there is no time for a single candidate.
        """
        before_s, costs, hours = self._expected_before_s(), self.costs(), self.ground.config.hours
        candidates = self._candidates
        needed = _rounded_up((smallest_plan(candidates, self._lengths).seconds(costs) + END_S + before_s) / 3600)
        if hours is not None and hours < needed:
            raise CompressError(f"auto.hours {hours:g} is too short for one candidate; give {needed:g} or more")
        if self._finds_cuts(candidates, before_s):
            before_s += self._cuts_s()
            candidates = _with_cuts(candidates)
        wanted = self._plan(candidates, before_s)
        assert wanted is not None  # there is time for the smallest
        memory = self.ground.memory
        left_s = wanted.seconds(costs, memory.tries) + END_S + before_s
        if memory.facts.estimated_s is None:
            memory.facts.estimated_s = memory.seconds + left_s
        say(f"auto: {_summary(wanted)}; about {in_words(left_s)} {'more' if memory.tries else 'in all'}")

    def plan(self) -> Plan:
        """What to try in the time that is left, once the teacher is known; the cuts are found where there is time."""
        memory = self.ground.memory
        candidates = self._candidates
        if self._finds_cuts(candidates, self._spent_before_s):
            with memory.finding("cuts"):
                memory.facts.cuts = self._find_cuts()
            candidates = self._candidates
        chosen = self._plan(candidates, self._spent_before_s)
        if memory.facts.cuts is None and (chosen or not self._may_measure_cuts):
            say(f"auto: measuring cuts would take about {in_words(self._cuts_s())} of your hours, so none is tried")
        if chosen:
            return chosen
        least = smallest_plan(candidates, self._lengths)  # hours of work are not thrown away
        if self.costs().seconds(least.candidates[-1], least.rungs[0]) > (self.left_s or 0.0):
            took = in_words(self._spent_before_s)
            say(f"auto: what was done so far took {took}, so there is no time for a student; give more --hours")
        return least

    def larger(self, done: Plan, costs: Costs, goes_on: Callable[[Plan], bool]) -> Plan | None:
        """What ``goes_on`` from a plan whose tries left time over, by what they took; None where that is too little."""
        if self.left_s is None:  # nothing was left out for want of time
            return None
        tries = self.ground.memory.tries
        every = (each.after(done, tries) for each in plans(self._candidates, self._lengths, done.cascades))
        found = largest(filter(goes_on, every), costs, self.left_s, tries)
        if found is not None:
            say(f"auto: there is time for more: {_summary(found)}")
        return found

    @property
    def left_s(self) -> float | None:
        """What is left of the hours, but for the end; None where they are not limited."""
        return self._left_after_s(self.ground.memory.spent_s)

    def candidate(self, title: str) -> Candidate:
        """The one of that title, whatever goals it was tried for."""
        known = candidates_of(self.ground.shape, self.ground.memory.facts.cuts or {})
        kinds = product(known, (False, True), ("dynamic", "static"))
        every = (replace(each, cuts_words=words, activations=kind) for each, words, kind in kinds)
        return next(each for each in every if each.title == title)

    def costs(self) -> Costs:
        """What a try takes, as far as it is known before the first one."""
        ground, whole = self.ground, self.ground.memory.facts.whole
        alone_s, texts = self._epoch_s(student_batch(ground.data)), len(ground.data.train)
        validated = len(ground.choosing)
        answers_s = alone_s * _ANSWERED_TO_TRAINED * (texts + validated) / texts
        epoch_s = alone_s * (1 + _VALIDATIONS * _ANSWERED_TO_TRAINED * validated / texts)
        return Costs(epoch_s, _TRY_S if whole is None else whole.try_s, answers_s)

    def _epoch_s(self, batch_size: int = TEACHER_BATCH) -> float:
        """About what an epoch of the whole teacher takes, in batches of so many texts."""
        ground, known = self.ground, self.ground.memory.facts.epoch_s
        if batch_size not in known:
            with ground.memory.finding(f"epoch_{batch_size}_s"):
                known[batch_size] = epoch_seconds(ground.start, ground.data, batch_size)
        return known[batch_size]

    def _whole(self) -> Whole:
        """The teacher's shape, with the tokens that the texts need where the size is limited."""
        ground, memory = self.ground, self.ground.memory
        if ground.config.max_megabytes is None:
            return ground.shape
        if memory.facts.words is None:
            with memory.finding("words"):
                memory.facts.words = words_left(ground.start, ground.data)
        return replace(ground.shape, words=memory.facts.words, most_mb=ground.config.max_megabytes)

    @property
    def _candidates(self) -> list[Candidate]:
        """All that are known and may keep to the limits."""
        return self._hopeful(candidates_of(self._whole(), self.ground.memory.facts.cuts or {}))

    def _hopeful(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that may keep to the limits of latency and size, or the cheapest where none may; the teacher first.

        Nothing is known of latencies before the teacher was looked at.
        """
        whole, most_mb = self.ground.memory.facts.whole, self.ground.config.max_megabytes
        most_ms, whole_ms = (None, 0.0) if whole is None else (self.ground.goals().latency_ms, whole.int8_ms)
        itself, *others = candidates

        def may_meet(each: Candidate) -> bool:
            small = most_mb is None or each.megabytes <= most_mb * _UNSURE
            return small and (most_ms is None or each.share * whole_ms <= most_ms * _UNSURE)

        return [itself, *([each for each in others if may_meet(each)] or others[:1])]

    def _plan(self, candidates: Sequence[Candidate], before_s: float) -> Plan | None:
        """The largest plan that fits into the hours with what is done before the tries and after them."""
        every = plans(candidates, self._lengths, most_pairs(self.ground))
        return largest(every, self.costs(), self._left_after_s(before_s))

    def _left_after_s(self, spent_s: float) -> float | None:
        hours = self.ground.config.hours
        return None if hours is None else 3600 * hours - END_S - spent_s

    @property
    def _lengths(self) -> Lengths:
        full = full_epochs(self.ground.data)
        return Lengths(full, least_epochs(self.ground.data, full))

    def _expected_before_s(self) -> float:
        """About what is done before the tries takes, but for cuts; what an earlier search found takes nothing."""
        known, ground = self.ground.memory.facts, self.ground
        epochs = teacher_settings(ground.data)["epochs"] if ground.bare and not known.teacher else 0
        return float(epochs * self._epoch_s() + END_S) if epochs else END_S

    @property
    def _spent_before_s(self) -> float:
        """What all but the tries that are still there took, of what is asked now."""
        return self.ground.memory.spent_before_tries_s

    def _finds_cuts(self, candidates: Sequence[Candidate], before_s: float) -> bool:
        """Whether cuts are looked for: they are not known, and leave most of the hours, and a plan, to the tries."""
        if self.ground.memory.facts.cuts is not None or not self._may_measure_cuts:
            return False
        return self._plan(_with_cuts(candidates), before_s + self._cuts_s()) is not None

    @property
    def _may_measure_cuts(self) -> bool:
        """Whether finding the cuts keeps to its part of the hours."""
        hours = self.ground.config.hours
        return hours is None or self._cuts_s() <= _CUTS_AT_MOST * 3600 * hours

    def _cuts_s(self) -> float:
        """About what finding the cuts takes."""
        epoch_s, texts = self._epoch_s(), len(self.ground.data.train)
        whole = self.ground.memory.facts.whole
        ms = whole.int8_ms if whole else 1000 * epoch_s / texts / _TRAINED_TO_ANSWERED
        return cuts_seconds(Widths.of(self.ground.start.model), epoch_s, texts, ms)

    def _find_cuts(self) -> dict[float, Cut]:
        say("auto: measuring what heads and neurons cost and what they are worth")
        ground = self.ground
        data = replace(ground.data, validation=ground.choosing)
        return cuts_of(ground.checkpoint, data, ground.threads, ground.config.seed)


def _with_cuts(candidates: Sequence[Candidate]) -> list[Candidate]:
    """With the cuts that may be found; their sizes are not known yet."""
    cuts = [Candidate(f"cut-{speedup:g}x", "prune", {}, 1 / speedup, 0.0) for speedup in SPEEDUPS]
    return [candidates[0], *sorted([*candidates[1:], *cuts], key=lambda each: each.share)]


def _summary(wanted: Plan) -> str:
    longest = wanted.rungs[-1]
    return f"{len(wanted.candidates)} candidates, trained for up to {longest:g} epoch{'s' * (longest != 1)}"


def _rounded_up(hours: float) -> float:
    """To two digits, as it is said; what is said must be enough."""
    digit = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return float(f"{math.ceil(hours / digit * (1 + 1e-9)) * digit:.2g}")
