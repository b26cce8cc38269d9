"""The order of the tries: from what was measured so far to the next one. Nothing is trained here.

All candidates are looked at after a short training; then the one that promises most is trained longer, rung by rung,
each three times as long as the one before: successive halving (Jamieson and Talwalkar 2016; Hyperband, Li et al. 2018)
in its best-first form, so that no more are trained to the end than it takes. The search ends when the model that
promises most has been trained to the end, or when the time is up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from compress.tuning.candidates import Candidate, label_of, thinned
from compress.tuning.goals import Figures, Goals

ETA = 3
_LEFT_AFTER_A_RUNG = 0.6  # of the loss, where no candidate has been trained on two rungs yet
_FEWEST, _SETTLED_AT = 3, 5
_STATIC_GAIN = 1.1  # at most, of the latency
_SHARES = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1)  # of the candidates and of the full length, in smaller and smaller plans
_Z = 1.959964
# By how much of its disagreement a model's loss usually deviates from what the others let expect, and the tries for
# which that counts. In simulations of 111 to 1,500 texts losses so settled are nearer to the truth than those measured,
# also with untrained models among them.
_OWN_SHARE, _PRIOR_TRIES = 0.3, 3


@dataclass(frozen=True)
class Try:
    """What was measured of one candidate after one training, on the texts to choose by.

    Attributes:
        candidate: its title.
        epochs: of the training; 0 where there was none.
        value: the metric, as a fraction; ``value_ci95`` is its 95% interval.
        loss: points lost against the teacher, and ``loss_ci95`` the paired 95% interval.
        agreement: the share of texts that get the teacher's answer.
        ms: median from a text to its answer, of a cascade the mean; ``ms_ci95`` is its 95% interval. Both are in
            proportion to the teacher's int8 model, which was timed beside it.
        megabytes: of the int8 model.
        train_s: what the training took; ``seconds`` the whole try.
        failed: why there is no model; empty where there is one.
    """

    candidate: str
    epochs: int
    value: float = 0.0
    value_ci95: tuple[float, float] = (0.0, 0.0)
    loss: float = 100.0
    loss_ci95: tuple[float, float] = (100.0, 100.0)
    agreement: float = 0.0
    ms: float = 0.0
    ms_ci95: tuple[float, float] = (0.0, 0.0)
    megabytes: float = 0.0
    seconds: float = 0.0
    train_s: float = 0.0
    failed: str = ""

    @property
    def label(self) -> str:
        """The name of its model."""
        return label_of(self.candidate, self.epochs)


@dataclass(frozen=True)
class Costs:
    """What a try takes: ``epoch_s`` is an epoch of the whole teacher, ``other_s`` all that is not training."""

    epoch_s: float
    other_s: float

    def seconds(self, candidate: Candidate, epochs: int) -> float:
        """A try of ``candidate``; frozen tables and the head cost something however few layers there are."""
        return self.other_s + (epochs * self.epoch_s * (0.1 + 0.9 * candidate.share) if candidate.command else 0.0)

    def learned(self, tries: Iterable[Try], candidates: Iterable[Candidate]) -> "Costs":
        """Corrected by what the tries took."""
        by_name = {candidate.title: candidate for candidate in candidates}
        done = [(by_name[each.candidate], each) for each in tries if each.candidate in by_name and not each.failed]
        trained = [(each, found) for each, found in done if each.command and found.train_s]
        expected = sum(self.seconds(each, found.epochs) - self.other_s for each, found in trained)
        took = sum(found.train_s for _, found in trained)
        others = [found.seconds - found.train_s for _, found in done]
        return Costs(
            self.epoch_s * took / expected if expected else self.epoch_s,
            float(np.mean(others)) if others else self.other_s,
        )


@dataclass(frozen=True)
class Plan:
    """What is tried: the candidates, and the epochs of each rung, the last one the full length."""

    candidates: Sequence[Candidate]
    rungs: Sequence[int]

    def seconds(self, costs: Costs) -> float:
        """About what it takes: every candidate's first look, then two of middling cost on each rung, two variants."""
        total = sum(costs.seconds(each, self.rungs[0]) for each in self.candidates)
        middle = float(np.mean([each.share for each in self.candidates[1:]] or [1.0]))
        typical = Candidate("", "distill", {}, middle, 0.0)
        for rung in self.rungs[1:]:
            total += 2 * costs.seconds(typical, rung)
        return total + 2 * costs.other_s


def plan(candidates: Sequence[Candidate], full_epochs: int, costs: Costs, budget_s: float | None) -> Plan | None:
    """The largest plan within the budget: fewer candidates and shorter trainings together. None where none fits.

    The teacher itself comes first in ``candidates``, then the others, the cheapest first.
    """
    others = len(candidates) - 1
    counts = {share: max(min(_FEWEST, others), round(share * others)) for share in _SHARES}
    plans = [
        *(Plan(thinned(candidates, counts[share]), rungs(max(1, round(share * full_epochs)))) for share in _SHARES),
        smallest_plan(candidates),
    ]
    return next((each for each in plans if budget_s is None or each.seconds(costs) <= budget_s), None)


def smallest_plan(candidates: Sequence[Candidate]) -> Plan:
    """The teacher itself and the cheapest of the others, trained for one epoch: no plan takes less."""
    return Plan(candidates[:2], rungs(1))


def rungs(full_epochs: int) -> list[int]:
    """The epochs of each rung, up to the full length: a ninth, a third, all of it, in whole epochs."""
    return sorted({max(1, round(full_epochs / ETA**step)) for step in (0, 1, 2)})


def next_try(
    wanted: Plan,
    tries: Sequence[Try],
    goals: Goals,
    costs: Costs,
    left_s: float | None,
    is_trained: Callable[[Candidate, int], bool],
) -> tuple[Candidate, int] | None:
    """The candidate to try next, and for how many epochs; None where the search is over.

    ``left_s`` is the time that is left, None for any; what does not fit is passed over, but for the model as it is,
    whose int8 form is there before the search. ``is_trained`` says whether the model that a variant is made from is
    still there; of another ask's short trainings it may be gone.
    """
    tried = {(each.candidate, each.epochs) for each in tries}
    looked_at = {each.candidate for each in tries if each.epochs >= wanted.rungs[0]}

    def fits(candidate: Candidate, epochs: int) -> bool:
        seconds = costs.other_s if is_trained(candidate, epochs) else costs.seconds(candidate, epochs)
        return left_s is None or seconds <= left_s

    for candidate in wanted.candidates:
        epochs = wanted.rungs[0] if candidate.command else 0
        known = candidate.title in looked_at or (candidate.title, epochs) in tried
        if not known and (not candidate.command or fits(candidate, epochs)):
            return candidate, epochs
    finished: list[tuple[Candidate, int]] = []
    for candidate, epochs in _by_promise(wanted, tries, goals):
        longer = [rung for rung in wanted.rungs if rung > epochs] if candidate.command else []
        if longer and (candidate.title, longer[0]) not in tried and fits(candidate, longer[0]):
            return candidate, longer[0]
        if not longer:
            finished = finished or [(each, epochs) for each in candidate.variants()]
            # Where the fastest is wanted a student is trained to the end, though the teacher alone may promise enough.
            if candidate.command or goals.max_drop is None:
                break
    return next((one for one in finished if (one[0].title, one[1]) not in tried and fits(*one)), None)


def settled(tries: Sequence[Try]) -> list[float]:
    """The points that each model loses, drawn towards what its disagreement with the teacher lets expect.

    Among dozens of models the one that looks best has been lucky. Over all tries the loss is about proportional to the
    share of other answers than the teacher's, which many texts tell; each model's own deviation counts as far as it is
    more than chance (James and Stein 1961; Efron and Morris 1975). That deviation, too, is larger where more answers
    differ, so a model that has learned nothing yet says little of those that are nearly as good as the teacher.
    """
    losses = np.array([each.loss for each in tries])
    if len(tries) < _SETTLED_AT:
        return [float(loss) for loss in losses]
    disagreement = np.array([1 - each.agreement for each in tries])
    chance = np.array([((each.loss_ci95[1] - each.loss_ci95[0]) / 2 / _Z) ** 2 for each in tries])
    points = (100 * disagreement) ** 2
    weights = 1 / np.maximum(_OWN_SHARE**2 * points + chance, 1e-12)
    slope = max(0.0, float((weights * losses) @ disagreement / max(1e-12, (weights * disagreement) @ disagreement)))
    deviations, counted = losses - slope * disagreement, weights**2 * points
    seen = float(counted @ (deviations**2 - chance) / max(1e-12, counted @ points))
    prior = _PRIOR_TRIES / len(tries)
    own = max(0.0, seen + prior * _OWN_SHARE**2) / (1 + prior) * points
    kept = own / np.maximum(own + chance, 1e-12)
    return [float(loss) for loss in slope * disagreement + kept * deviations]


def figures(tries: Sequence[Try]) -> list[Figures]:
    """What each try costs: its loss :func:`settled`, its latency that of all its candidate's tries."""
    ms: dict[str, list[float]] = {}
    for each in tries:
        ms.setdefault(each.candidate, []).append(each.ms)
    return [
        Figures(loss, float(np.median(ms[each.candidate])), each.megabytes)
        for loss, each in zip(settled(tries), tries, strict=True)
    ]


def best(tries: Sequence[Try], goals: Goals) -> Try | None:
    """The try that meets the goals best, if possible one that was trained longest; None where none meets them."""
    made = [each for each in tries if not each.failed]
    meeting = [
        (each, goals.rank(found)) for each, found in zip(made, figures(made), strict=True) if goals.met_by(found)
    ]
    longest = _longest(made)
    chosen = [one for one in meeting if one[0] in longest] or meeting
    return min(chosen, key=lambda one: one[1])[0] if chosen else None


def front(tries: Sequence[Try]) -> list[Try]:
    """Of each candidate's longest training, those that no other beats in both latency and loss, the fastest first."""
    found: list[Try] = []
    for each in sorted(_longest(tries), key=lambda each: (each.ms, each.loss)):
        if not found or each.loss < found[-1].loss:
            found.append(each)
    return found


def _longest(tries: Sequence[Try]) -> list[Try]:
    """The longest training of each candidate."""
    last = {each.candidate: each for each in sorted(tries, key=lambda each: each.epochs) if not each.failed}
    return list(last.values())


def _by_promise(wanted: Plan, tries: Sequence[Try], goals: Goals) -> list[tuple[Candidate, int]]:
    """Each candidate that has a model, with the epochs of its longest training; the most promising first.

    Where one may keep to the limits of latency and size those that cannot are left out: no training changes that.
    """
    made = [each for each in tries if not each.failed]
    known = dict(zip(((each.candidate, each.epochs) for each in made), figures(made), strict=True))
    left = _left_by_rung({key: found.loss for key, found in known.items()}, wanted.rungs)
    last = {each.candidate: each.epochs for each in _longest(made)}
    found = []
    for candidate in wanted.candidates:
        if candidate.title not in last:
            continue
        epochs = last[candidate.title]
        now = known[candidate.title, epochs]
        to_come = [rung for rung in wanted.rungs if rung > epochs] if candidate.command and now.loss > 0 else []
        promised = replace(now, loss=now.loss * prod(left[rung] for rung in to_come))
        found.append((goals.rank(promised), candidate, epochs, goals.within_limits(_at_best(candidate, now))))
    any_can = any(can for *_, can in found)
    ranked = sorted(found, key=lambda one: one[0])
    return [(candidate, epochs) for _, candidate, epochs, can in ranked if can or not any_can]


def _at_best(candidate: Candidate, found: Figures) -> Figures:
    """What its variants could make of it: a smaller model where words can be cut, and one that is somewhat faster."""
    return replace(found, ms=found.ms / _STATIC_GAIN, megabytes=found.megabytes if candidate.cuts_words else 0.0)


def _left_by_rung(losses: Mapping[tuple[str, int], float], rungs: Sequence[int]) -> dict[int, float]:
    """The share of the loss that training as long as each later rung leaves, from candidates that had both."""
    left = {}
    for short, long in pairwise(rungs):
        names = [name for name, epochs in losses if epochs == short and (name, long) in losses]
        before, after = (sum(max(0.0, losses[name, epochs]) for name in names) for epochs in (short, long))
        # The usual share counts as one more candidate, with a loss of a point: a single one says little.
        left[long] = min(1.0, (after + _LEFT_AFTER_A_RUNG) / (before + 1.0))
    return left
