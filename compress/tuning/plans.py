"""What is tried of all candidates, how long each is trained, and what that takes: smaller and smaller plans."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compress.tuning.candidates import Candidate, likeliest
from compress.tuning.tries import Try

ETA = 3
_LONGER = 1.5  # a rung than the one before, at least
_FEWEST = 3
_SHARES = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1)  # of the candidates and of the full length, in smaller and smaller plans


@dataclass(frozen=True)
class Costs:
    """What a try takes: ``epoch_s`` an epoch of a student as large as the teacher, ``other_s`` all but training.

    ``answers_s`` is what the teacher's answers take, before the first training.
    """

    epoch_s: float
    other_s: float
    answers_s: float = 0.0

    def seconds(self, candidate: Candidate, epochs: float) -> float:
        """A try of ``candidate``; frozen tables and the head cost something however few layers there are."""
        return self.other_s + (epochs * self.epoch_s * (0.1 + 0.9 * candidate.share) if candidate.command else 0.0)

    @property
    def cascade_s(self) -> float:
        """A cascade: both models answer and are timed twice, then what they make is judged as any other; a guess."""
        return 2 * self.other_s

    def learned(self, tries: Iterable[Try], candidates: Iterable[Candidate]) -> "Costs":
        """Corrected by what the tries took."""
        by_name = {candidate.title: candidate for candidate in candidates}
        done = [(by_name[each.candidate], each) for each in tries if each.candidate in by_name and not each.failed]
        trained = [(each, found) for each, found in done if each.command and found.train_s]
        answered = min(1.0, max((found.epochs for _, found in trained), default=0.0))  # only what students read
        expected = answered * self.answers_s
        expected += sum(self.seconds(each, found.epochs) - self.other_s for each, found in trained)
        took = sum(found.train_s for _, found in trained)
        others = [found.seconds - found.train_s for _, found in done]
        slower = took / expected if took else 1.0
        return Costs(self.epoch_s * slower, float(np.mean(others)) if others else self.other_s, self.answers_s * slower)


@dataclass(frozen=True)
class Lengths:
    """The epochs of a training: those of the ``full`` one, and of the ``least`` that tells something."""

    full: float
    least: float = 1

    def rungs(self, share: float = 1.0) -> list[float]:
        """The epochs of each rung, up to a share of the full length: a ninth, a third, all of it."""
        longest, *shorter = (self._rounded(share * self.full / ETA**step) for step in (0, 1, 2))
        found = [longest]
        for epochs in shorter:
            if epochs * _LONGER <= found[0]:
                found.insert(0, epochs)
        return found

    def _rounded(self, epochs: float) -> float:
        """Whole epochs, or a part of one in two digits: it is in the names of models."""
        epochs = max(self.least, epochs)
        part = float(f"{epochs:.2g}")
        return part if part < 1 else round(epochs)


@dataclass(frozen=True)
class Plan:
    """What is tried: candidates, the epochs of each rung, the last one the full length, and how many cascades."""

    candidates: Sequence[Candidate]
    rungs: Sequence[float]
    cascades: int = 0

    def seconds(self, costs: Costs, tries: Sequence[Try] = ()) -> float:
        """About what it takes: all first looks, then two of middling cost on each rung, two variants, the cascades.

        What was tried of it takes nothing more.
        """
        students = self.candidates[1:]
        singles = [each for each in tries if not each.is_cascade]
        tried = {(each.candidate, each.epochs) for each in singles}
        looked_at = {each.candidate for each in singles if each.epochs >= self.rungs[0] or each.epochs == 0}
        looks = [each for each in self.candidates if each.title not in looked_at]
        total = sum(costs.seconds(each, self.rungs[0]) for each in looks)
        typical = Candidate("", "distill", {}, float(np.mean([each.share for each in students] or [1.0])), 0.0)
        for rung in self.rungs[1:]:
            left = min(2, len(students)) - sum(epochs == rung for _, epochs in tried)
            total += max(0, left) * costs.seconds(typical, rung)
        variants = len({title for title, _ in tried} - {each.title for each in self.candidates})
        answers_s = 0.0 if any(each.train_s for each in tries) else costs.answers_s * min(1.0, self.rungs[-1])
        cascades = max(0, self.cascades - (len(tries) - len(singles)))
        return total + answers_s + max(0, 2 - variants) * costs.other_s + cascades * costs.cascade_s

    def after(self, done: "Plan", tries: Sequence[Try]) -> "Plan":
        """What goes on from another plan, after these tries: its candidates and its first looks stay."""
        itself, *others = [*done.candidates, *(each for each in self.candidates if each not in done.candidates)]
        every = [itself, *sorted(others, key=lambda each: each.share)]
        trained = max([done.rungs[0], *(each.epochs for each in tries if each.epochs in done.rungs)])
        rungs = [rung for rung in done.rungs if rung <= trained] + [rung for rung in self.rungs if rung > trained]
        return Plan(every, rungs, max(self.cascades, done.cascades))


def plans(candidates: Sequence[Candidate], lengths: Lengths, cascades: int) -> list[Plan]:
    """Smaller and smaller ones, of fewer candidates and shorter trainings together.

    The last have a single student, which is trained as long as there is time; ``cascades`` are in all others. The
    teacher itself comes first in ``candidates``, then the others, the cheapest first.
    """
    others = len(candidates) - 1
    counts = {share: max(min(_FEWEST, others), round(share * others)) for share in _SHARES}
    several = [Plan(likeliest(candidates, counts[share]), lengths.rungs(share), cascades) for share in _SHARES]
    alone = [Plan(likeliest(candidates, 1), lengths.rungs(share)) for share in _SHARES]
    return [*several, *alone, smallest_plan(candidates, lengths)]


def largest(plans: Iterable[Plan], costs: Costs, left_s: float | None, tries: Sequence[Try] = ()) -> Plan | None:
    """The first that fits into the time left after these tries, which None does not limit; None where none fits."""
    return next((each for each in plans if left_s is None or each.seconds(costs, tries) <= left_s), None)


def smallest_plan(candidates: Sequence[Candidate], lengths: Lengths) -> Plan:
    """The teacher itself and the likeliest of the others, trained as little as tells something."""
    return Plan(likeliest(candidates, 1), lengths.rungs(0.0))
