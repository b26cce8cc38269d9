"""Plans of a search, the largest first: which candidates are tried, for how many epochs, and the time that takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compress.tuning.candidates import Candidate, likeliest
from compress.tuning.tries import Try

ETA = 3
_LEAST_GROWTH = 1.5  # from the epochs of a rung to those of the next
_FEWEST = 3  # students in a plan, but for the plans of a single student
_SHARES = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1)  # of the candidates and of the full length, from plan to plan


@dataclass(frozen=True)
class Costs:
    """Estimated seconds of the parts of a try."""

    epoch_s: float  # an epoch of a student as large as the teacher
    other_s: float  # everything in a try but training
    answers_s: float = 0.0  # the teacher's answers, before the first training

    def seconds(self, candidate: Candidate, epochs: float) -> float:
        """Seconds of a try; embeddings and head cost something however few layers there are."""
        return self.other_s + (epochs * self.epoch_s * (0.1 + 0.9 * candidate.share) if candidate.command else 0.0)

    @property
    def cascade_s(self) -> float:
        """A guess at the seconds of a cascade: both models answer and are timed twice, then it is measured itself."""
        return 2 * self.other_s

    def learned(self, tries: Iterable[Try], candidates: Iterable[Candidate]) -> "Costs":
        """These costs, corrected by what the tries took."""
        by_name = {candidate.title: candidate for candidate in candidates}
        done = [(by_name[each.candidate], each) for each in tries if each.candidate in by_name and not each.failed]
        trained = [(candidate, trial) for candidate, trial in done if candidate.command and trial.train_s]
        answered = min(1.0, max((trial.epochs for _, trial in trained), default=0.0))  # only texts students read
        expected = answered * self.answers_s
        expected += sum(self.seconds(candidate, trial.epochs) - self.other_s for candidate, trial in trained)
        took = sum(trial.train_s for _, trial in trained)
        others = [trial.seconds - trial.train_s for _, trial in done]
        slower = took / expected if took else 1.0
        return Costs(self.epoch_s * slower, float(np.mean(others)) if others else self.other_s, self.answers_s * slower)


@dataclass(frozen=True)
class Lengths:
    """The epochs of a full training, and the fewest after which a model can be judged."""

    full: float
    least: float = 1

    def rungs(self, share: float = 1.0) -> list[float]:
        """The epochs of each rung: a ninth, a third and all of ``share`` of the full length."""
        longest, *shorter = (self._rounded(share * self.full / ETA**step) for step in (0, 1, 2))
        rungs = [longest]
        for epochs in shorter:
            if epochs * _LEAST_GROWTH <= rungs[0]:
                rungs.insert(0, epochs)
        return rungs

    def _rounded(self, epochs: float) -> float:
        """Whole epochs, or below 1 a fraction of two digits: the number is in the names of models."""
        epochs = max(self.least, epochs)
        part = float(f"{epochs:.2g}")
        return part if part < 1 else round(epochs)


@dataclass(frozen=True)
class Plan:
    """The candidates that a search tries, how long it trains them, and the number of cascades."""

    candidates: Sequence[Candidate]  # the teacher itself first
    rungs: Sequence[float]  # epochs, rising; the last is the full length
    cascades: int = 0  # how many

    def seconds(self, costs: Costs, tries: Sequence[Try] = ()) -> float:
        """About the seconds that the plan takes; what was tried of it takes nothing more.

        Counted are all first looks, two trainings of middling cost on each later rung, and once two variants and the
        cascades.
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
        """This plan as a continuation of ``done`` after these tries: candidates and first looks of ``done`` stay."""
        itself, *others = [*done.candidates, *(each for each in self.candidates if each not in done.candidates)]
        every = [itself, *sorted(others, key=lambda each: each.share)]
        trained = max([done.rungs[0], *(each.epochs for each in tries if each.epochs in done.rungs)])
        rungs = [rung for rung in done.rungs if rung <= trained] + [rung for rung in self.rungs if rung > trained]
        return Plan(every, rungs, max(self.cascades, done.cascades))


def plans(candidates: Sequence[Candidate], lengths: Lengths, cascades: int) -> list[Plan]:
    """Plans from the largest to the smallest: candidates become fewer and trainings shorter together.

    The last ones have a single student, trained as long as there is time, and no cascades; all others have as many as
    ``cascades`` says. The teacher itself comes first in ``candidates``, then the others, the cheapest first.
    """
    others = len(candidates) - 1
    counts = {share: max(min(_FEWEST, others), round(share * others)) for share in _SHARES}
    several = [Plan(likeliest(candidates, counts[share]), lengths.rungs(share), cascades) for share in _SHARES]
    alone = [Plan(likeliest(candidates, 1), lengths.rungs(share)) for share in _SHARES]
    return [*several, *alone, smallest_plan(candidates, lengths)]


def largest(plans: Iterable[Plan], costs: Costs, left_s: float | None, tries: Sequence[Try] = ()) -> Plan | None:
    """The first plan that fits into the time left after these tries, or None; ``left_s`` None: there is no limit."""
    return next((each for each in plans if left_s is None or each.seconds(costs, tries) <= left_s), None)


def smallest_plan(candidates: Sequence[Candidate], lengths: Lengths) -> Plan:
    """The plan of the teacher itself and the likeliest of the others, with the shortest training."""
    return Plan(likeliest(candidates, 1), lengths.rungs(0.0))
