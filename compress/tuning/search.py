"""The order of the tries: from what was measured so far to the next one. Nothing is trained here.

All candidates are looked at after a short training; then the one that promises most is trained longer, rung by rung,
each three times as long as the one before: successive halving (Jamieson and Talwalkar 2016; Hyperband, Li et al. 2018)
in its best-first form, so that no more are trained to the end than it takes. The search ends when the model that
promises most has been trained to the end, or when the time is up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from compress.tuning.candidates import Candidate
from compress.tuning.goals import Figures, Goals
from compress.tuning.plans import Costs, Plan
from compress.tuning.tries import Try, figures, longest

_LEFT_AFTER_A_RUNG = 0.6  # of the loss, where no candidate has been trained on two rungs yet
_STATIC_GAIN = 1.1  # the most that static activations divide a latency by
_SIZE_NOT_KNOWN = 0.0  # megabytes, which no limit is below


@dataclass(frozen=True)
class Proposal:
    """A candidate, and the epochs to train it for."""

    candidate: Candidate
    epochs: float

    @property
    def key(self) -> tuple[str, float]:
        """The title and epochs by which a try of this proposal is found."""
        return self.candidate.title, self.epochs


_Condition = Callable[[Proposal], bool]


@dataclass(frozen=True)
class _Standing:
    """A candidate after its longest training so far."""

    candidate: Candidate
    epochs: float
    figures: Figures
    rank: tuple[float, ...]  # of the figures that a full training promises; the smallest is best
    next_epochs: float | None  # of its next rung; None after the last rung, and where the next one has failed
    is_at_the_end: bool
    may_meet_limits: bool


def next_try(
    wanted: Plan, tries: Sequence[Try], goals: Goals, costs: Costs, left_s: float | None, is_trained: _Condition
) -> Proposal | None:
    """The candidate to try next, and for how many epochs; None where the search is over.

    Candidates that do not fit into ``left_s``, the time left (None: any), are skipped, except the teacher itself, whose
    int8 model exists already. ``is_trained`` says whether the model that a variant is made from is still on disk; an
    earlier request may have removed it.
    """

    def fits(proposal: Proposal) -> bool:
        seconds = costs.other_s if is_trained(proposal) else costs.seconds(proposal.candidate, proposal.epochs)
        return left_s is None or seconds <= left_s

    if look := _first_look(wanted, tries, fits):
        return look
    ranked = _by_promise(wanted, tries, goals)
    if longer := _next_rung(ranked, goals, fits):
        return longer
    tried = {(each.candidate, each.epochs) for each in tries}
    variants = _variants_to_try(ranked, goals, is_trained)
    return next((variant for variant in variants if variant.key not in tried and fits(variant)), None)


def _first_look(wanted: Plan, tries: Sequence[Try], fits: _Condition) -> Proposal | None:
    """The first candidate of the plan without a try."""
    tried = {(each.candidate, each.epochs) for each in tries}
    looked_at = {each.candidate for each in tries if each.epochs >= wanted.rungs[0]}
    for candidate in wanted.candidates:
        look = Proposal(candidate, wanted.rungs[0] if candidate.command else 0)
        known = candidate.title in looked_at or look.key in tried
        if not known and (not candidate.command or fits(look)):
            return look
    return None


def _next_rung(ranked: Sequence[_Standing], goals: Goals, fits: _Condition) -> Proposal | None:
    """The next rung of the candidate that promises most, unless it is trained to the end, or is enough as it is."""
    is_behind_the_teacher = False
    for each in ranked:
        if each.is_at_the_end:
            # Where the fastest is wanted a student is trained to the end, though the teacher alone may promise enough.
            if each.candidate.command or goals.max_drop is None:
                return None
            is_behind_the_teacher = True
        elif each.next_epochs is not None:
            longer = Proposal(each.candidate, each.next_epochs)
            if fits(longer):
                return longer
            if is_behind_the_teacher or _is_enough(each.figures, goals):  # the next ones promise less, or are slower
                return None
    return None


def _variants_to_try(ranked: Sequence[_Standing], goals: Goals, is_trained: _Condition) -> list[Proposal]:
    """Variants of the candidate that promises most, once it is trained to the end, or as long as it can be."""
    for each in ranked:
        variants = [Proposal(variant, each.epochs) for variant in each.candidate.variants()]
        if each.is_at_the_end:
            return variants
        if each.next_epochs is not None and _is_enough(each.figures, goals):
            return list(filter(is_trained, variants))
    return []


def _is_enough(reached: Figures, goals: Goals) -> bool:
    return goals.max_drop is not None and goals.met_by(reached)


def _by_promise(wanted: Plan, tries: Sequence[Try], goals: Goals) -> list[_Standing]:
    """The candidates that have a model, the most promising first.

    Where one may keep to the limits of latency and size those that cannot are left out: no training changes that. The
    lower end of a latency's interval counts here, since a candidate that is left out is never timed again.
    """
    made = [each for each in tries if not each.failed]
    known = dict(zip(((each.candidate, each.epochs) for each in made), figures(made), strict=True))
    left = _left_by_rung({key: each.loss for key, each in known.items()}, wanted.rungs)
    last = {each.candidate: each.epochs for each in longest(made)}
    tried = {(each.candidate, each.epochs) for each in tries}
    standings = []
    for candidate in wanted.candidates:
        if candidate.title not in last:
            continue
        epochs = last[candidate.title]
        present = known[candidate.title, epochs]
        to_come = [rung for rung in wanted.rungs if rung > epochs] if candidate.command else []
        remains = prod(left.get(rung, 1.0) for rung in to_come if present.loss > 0)
        rank = goals.rank(replace(present, loss=present.loss * remains))
        next_epochs = next((rung for rung in to_come[:1] if (candidate.title, rung) not in tried), None)
        lowest_ms = min(each.ms_ci95[0] for each in made if each.candidate == candidate.title)
        may_meet = goals.within_limits(_at_best(candidate, replace(present, ms=lowest_ms)))
        standings.append(_Standing(candidate, epochs, present, rank, next_epochs, not to_come, may_meet))
    possible = [each for each in standings if each.may_meet_limits]
    return sorted(possible or standings, key=lambda each: each.rank)


def _at_best(candidate: Candidate, present: Figures) -> Figures:
    """The best figures of its variants: somewhat faster, and of unknown size while tokens can still be removed."""
    megabytes = present.megabytes if candidate.cuts_vocabulary else _SIZE_NOT_KNOWN
    return replace(present, ms=present.ms / _STATIC_GAIN, megabytes=megabytes)


def _left_by_rung(losses: Mapping[tuple[str, float], float], rungs: Sequence[float]) -> dict[float, float]:
    """The share of the loss that remains after each later rung, from candidates trained on it and the rung before."""
    left = {}
    for short, long in pairwise(rungs):
        names = [name for name, epochs in losses if epochs == short and (name, long) in losses]
        before, after = (sum(max(0.0, losses[name, epochs]) for name in names) for epochs in (short, long))
        # The usual share counts as one more candidate, with a loss of a point: a single one says little.
        left[long] = min(1.0, (after + _LEFT_AFTER_A_RUNG) / (before + 1.0))
    return left
