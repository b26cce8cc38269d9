"""What to try for the user's goals within the hours that the user gives, and about how long it takes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from compress.clock import in_words
from compress.errors import CompressError
from compress.modeling.widths import Cut
from compress.progress import say
from compress.tuning.candidates import SPEEDUPS, Candidate, Whole, candidates_of
from compress.tuning.goals import Goals
from compress.tuning.ground import Ground
from compress.tuning.search import Costs, Plan, plan, rungs
from compress.tuning.teacher import cuts_of, epoch_seconds, full_epochs, teacher_settings, words_left

_UNSURE = 1.2  # sizes and latencies are known beforehand to within this
_TRY_S, END_S = 15.0, 60.0  # a try but for its training, the report: guesses


@dataclass(frozen=True)
class Planner:
    """The goals and the candidates of a search on its ground."""

    ground: Ground

    def goals(self) -> Goals:
        """The goals in milliseconds and megabytes."""
        config, whole_ms = self.ground.config, float(self.ground.memory.facts["whole"]["teacher_ms"])
        latency_ms = whole_ms / config.speedup if config.speedup else config.target_latency_ms
        return Goals(config.max_drop, latency_ms, config.max_megabytes, whole_ms)

    def costs(self) -> Costs:
        """What a try takes, as far as it is known before the first one."""
        epoch_s = self.ground.memory.fact("epoch_s", lambda: epoch_seconds(self.ground.start, self.ground.data, 32))
        whole = self.ground.memory.facts.get("whole")
        return Costs(epoch_s, _TRY_S if whole is None else whole["try_s"])

    def plan(self, *, told: bool) -> Plan:
        """What to try within the hours that the user gives; before the cuts are known, with cuts as they will be.

        Raises:
            CompressError: there is no time for a single candidate.
        """
        if told:
            found = self.ground.memory.fact("cuts", self._find_cuts)
            cuts = {float(speedup): Cut(**cut) for speedup, cut in found.items()}
            candidates = self._hopeful(candidates_of(self._whole(), cuts))
        else:
            expected = [Candidate(f"cut-{speedup:g}x", "prune", {}, 1 / speedup, 0.0) for speedup in SPEEDUPS]
            candidates = candidates_of(self.ground.shape(), {}) + expected
        hours = self.ground.config.hours
        budget_s = None if hours is None else 3600 * hours - END_S - self._before_s(told)
        costs = self.costs()
        if (chosen := plan(candidates, full_epochs(self.ground.data), costs, budget_s)) is None:
            if told:  # hours of work are not thrown away
                before = in_words(self._before_s(told))
                say(f"auto: what comes before the tries took {before}, so no student fits; give more --hours for some")
                return Plan(candidates[:1], rungs(1))
            least = plan(candidates[:2], 1, costs, None)
            assert least is not None
            enough = 1.1 * (least.seconds(costs) + END_S + self._before_s(told)) / 3600
            raise CompressError(f"auto.hours {hours:g} is too short for one candidate; give {enough:.2g} or more")
        return chosen

    def candidate(self, title: str) -> Candidate:
        """The one of that title, whatever goals it was tried for."""
        cuts = {float(speedup): Cut(**cut) for speedup, cut in self.ground.memory.facts["cuts"].items()}
        kinds = product(candidates_of(self.ground.shape(), cuts), (False, True), ("dynamic", "static"))
        every = (replace(each, cuts_words=words, activations=kind) for each, words, kind in kinds)
        return next(each for each in every if each.title == title)

    def _whole(self) -> Whole:
        """The teacher's shape, with the tokens that the texts need where the size is limited."""
        most_mb, whole = self.ground.config.max_megabytes, self.ground.shape()
        if most_mb is None:
            return whole
        words = self.ground.memory.fact("words", lambda: words_left(self.ground.checkpoint, self.ground.data))
        return replace(whole, words=words, most_mb=most_mb)

    def _hopeful(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that may keep to the limits of latency and size, or the cheapest where none may; the teacher first."""
        goals, whole_ms = self.goals(), float(self.ground.memory.facts["whole"]["int8_ms"])
        itself, *others = candidates

        def may_meet(each: Candidate) -> bool:
            small = goals.megabytes is None or each.megabytes <= goals.megabytes * _UNSURE
            return small and (goals.latency_ms is None or each.share * whole_ms <= goals.latency_ms * _UNSURE)

        return [itself, *([each for each in others if may_meet(each)] or others[:1])]

    def tell(self) -> None:
        """Say what is planned and about how long all of it takes, before anything is done."""
        wanted = self.plan(told=False)
        whole_s = wanted.seconds(self.costs()) + END_S + self._before_s(False)
        self.ground.memory.facts["estimated_s"] = whole_s  # of what is asked now
        count, longest = len(wanted.candidates), wanted.rungs[-1]
        say(f"auto: {count} candidates, trained for up to {longest} epochs; about {in_words(whole_s)} in all")

    def _before_s(self, known: bool) -> float:
        """What is done before the tries takes, as known or expected."""
        if known:
            return self.ground.memory.spent_s - sum(each.seconds for each in self.ground.memory.tries)
        epochs = teacher_settings(self.ground.data)["epochs"] if self.ground.bare else 0
        return float(epochs * self.costs().epoch_s + END_S)

    def _find_cuts(self) -> dict[str, Any]:
        say("auto: measuring what heads and neurons cost and what they are worth")
        ground = self.ground
        data = replace(ground.data, validation=ground.choosing)
        found = cuts_of(ground.checkpoint, data, ground.threads, ground.config.seed)
        return {str(speedup): asdict(cut) for speedup, cut in found.items()}
