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
_STATIC_GAIN = 1.1  # at most, of the latency
_SIZE_NOT_KNOWN = 0.0  # megabytes, which no limit is below

_Fits = Callable[[Candidate, float], bool]  # whether so many epochs of it fit into the time that is left


@dataclass(frozen=True)
class _Standing:
    """A candidate after its longest training.

    ``longer`` are the epochs of its next rung; None after the last, where it ``is_at_the_end``, and where that failed.
    """

    candidate: Candidate
    epochs: float
    now: Figures
    longer: float | None
    is_at_the_end: bool


def next_try(
    wanted: Plan,
    tries: Sequence[Try],
    goals: Goals,
    costs: Costs,
    left_s: float | None,
    is_trained: Callable[[Candidate, float], bool],
) -> tuple[Candidate, float] | None:
    """The candidate to try next, and for how many epochs; None where the search is over.

    ``left_s`` is the time that is left, None for any; what does not fit is passed over, but for the model as it is,
    whose int8 form is there before the search. ``is_trained`` says whether the model that a variant is made from is
    still there; of another ask's short trainings it may be gone.
    """

    def fits(candidate: Candidate, epochs: float) -> bool:
        seconds = costs.other_s if is_trained(candidate, epochs) else costs.seconds(candidate, epochs)
        return left_s is None or seconds <= left_s

    if look := _first_look(wanted, tries, fits):
        return look
    ranked = _by_promise(wanted, tries, goals)
    if longer := _next_rung(ranked, goals, fits):
        return longer
    tried = {(each.candidate, each.epochs) for each in tries}
    variants = _variants_to_try(ranked, goals, is_trained)
    return next((one for one in variants if (one[0].title, one[1]) not in tried and fits(*one)), None)


def _first_look(wanted: Plan, tries: Sequence[Try], fits: _Fits) -> tuple[Candidate, float] | None:
    """The first candidate that was not looked at yet."""
    tried = {(each.candidate, each.epochs) for each in tries}
    looked_at = {each.candidate for each in tries if each.epochs >= wanted.rungs[0]}
    for candidate in wanted.candidates:
        epochs = wanted.rungs[0] if candidate.command else 0
        known = candidate.title in looked_at or (candidate.title, epochs) in tried
        if not known and (not candidate.command or fits(candidate, epochs)):
            return candidate, epochs
    return None


def _next_rung(ranked: Sequence[_Standing], goals: Goals, fits: _Fits) -> tuple[Candidate, float] | None:
    """The next rung of what promises most, unless that is trained to the end, or is enough as it is."""
    is_behind_the_teacher = False
    for each in ranked:
        if each.is_at_the_end:
            # Where the fastest is wanted a student is trained to the end, though the teacher alone may promise enough.
            if each.candidate.command or goals.max_drop is None:
                return None
            is_behind_the_teacher = True
        elif each.longer is not None:
            if fits(each.candidate, each.longer):
                return each.candidate, each.longer
            if is_behind_the_teacher or _is_enough(each.now, goals):  # the next ones promise less, or are slower
                return None
    return None


def _variants_to_try(ranked: Sequence[_Standing], goals: Goals, is_trained: _Fits) -> list[tuple[Candidate, float]]:
    """Those of what promises most, once that is trained to the end, or as long as it can be."""
    for each in ranked:
        variants = [(variant, each.epochs) for variant in each.candidate.variants()]
        if each.is_at_the_end:
            return variants
        if each.longer is not None and _is_enough(each.now, goals):
            return [one for one in variants if is_trained(*one)]
    return []


def _is_enough(now: Figures, goals: Goals) -> bool:
    return goals.max_drop is not None and goals.met_by(now)


def _by_promise(wanted: Plan, tries: Sequence[Try], goals: Goals) -> list[_Standing]:
    """Each candidate that has a model, most promising first.

    Where one may keep to the limits of latency and size those that cannot are left out: no training changes that. Of a
    latency the lower end of its interval counts, since what is left out is never timed again.
    """
    made = [each for each in tries if not each.failed]
    known = dict(zip(((each.candidate, each.epochs) for each in made), figures(made), strict=True))
    left = _left_by_rung({key: found.loss for key, found in known.items()}, wanted.rungs)
    last = {each.candidate: each.epochs for each in longest(made)}
    tried = {(each.candidate, each.epochs) for each in tries}
    found = []
    for candidate in wanted.candidates:
        if candidate.title not in last:
            continue
        epochs = last[candidate.title]
        now = known[candidate.title, epochs]
        to_come = [rung for rung in wanted.rungs if rung > epochs] if candidate.command else []
        promised = replace(now, loss=now.loss * prod(left.get(rung, 1.0) for rung in to_come if now.loss > 0))
        longer = next((rung for rung in to_come[:1] if (candidate.title, rung) not in tried), None)
        lowest_ms = min(each.ms_ci95[0] for each in made if each.candidate == candidate.title)
        may_keep = goals.within_limits(_at_best(candidate, replace(now, ms=lowest_ms)))
        found.append((goals.rank(promised), _Standing(candidate, epochs, now, longer, not to_come), may_keep))
    some_may = any(may_keep for *_, may_keep in found)
    ranked = sorted(found, key=lambda one: one[0])
    return [standing for _, standing, may_keep in ranked if may_keep or not some_may]


def _at_best(candidate: Candidate, found: Figures) -> Figures:
    """What its variants could make of it: somewhat faster, and where words can still be cut of a size not known."""
    megabytes = found.megabytes if candidate.cuts_words else _SIZE_NOT_KNOWN
    return replace(found, ms=found.ms / _STATIC_GAIN, megabytes=megabytes)


def _left_by_rung(losses: Mapping[tuple[str, float], float], rungs: Sequence[float]) -> dict[float, float]:
    """The share of the loss that training as long as each later rung leaves, from candidates that had both."""
    left = {}
    for short, long in pairwise(rungs):
        names = [name for name, epochs in losses if epochs == short and (name, long) in losses]
        before, after = (sum(max(0.0, losses[name, epochs]) for name in names) for epochs in (short, long))
        # The usual share counts as one more candidate, with a loss of a point: a single one says little.
        left[long] = min(1.0, (after + _LEFT_AFTER_A_RUNG) / (before + 1.0))
    return left
