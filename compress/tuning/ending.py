"""The end of a search: the best model, what it loses on the texts that were held back, and all that is written."""

from dataclasses import dataclass
from typing import Any

from compress.clock import Stopwatch, in_words
from compress.errors import CompressError
from compress.folder import BEST
from compress.progress import say
from compress.runtime.classifier import load
from compress.runtime.predictor import NotFiniteError
from compress.steps.step import StepResult, history_entry
from compress.tuning import outcome
from compress.tuning.cascades import steps_of
from compress.tuning.goals import Figures, Goals
from compress.tuning.ground import Ground
from compress.tuning.judge import Judge
from compress.tuning.planner import Planner
from compress.tuning.promise import Promise, promise_of
from compress.tuning.tries import Try, best, figures, front


@dataclass(frozen=True)
class Ending:
    """What is left of the tries of a search."""

    ground: Ground
    planner: Planner
    judge: Judge
    goals: Goals

    def finish(self, watch: Stopwatch, *, partial: bool) -> StepResult:
        """Write everything; what meets no goal is said when all is written."""
        ground, chosen = self.ground, best(self.ground.memory.tries, self.goals)
        promise, broken = self._promise(chosen) if chosen else (None, "")
        missed = promise.missed_words(self.goals.max_drop) if promise else broken
        found = " ".join(filter(None, [missed, self._found_words(chosen, promise, partial=partial)]))
        metrics = self._metrics(chosen, promise, missed=bool(missed), partial=partial)
        outcome.write_front(ground.tries, ground.folder / "front", [each.label for each in self._front])
        if chosen:
            self._write_winner(chosen, found, metrics, watch)
        else:
            outcome.remove_winner(ground.folder)
        self._report(chosen, found, missed if chosen else found, partial=partial)
        if missed:
            say(f"auto: {missed}")
        if partial:
            left = "the best model so far" if chosen else "the models so far in front, but none meets the goals yet"
            raise KeyboardInterrupt(f"{ground.folder} has {left}; the same command goes on")
        if chosen is None:
            raise CompressError(
                f"auto: {found} {ground.folder / 'front'} has the models; to get one, allow {self.goals.to_allow}"
            )
        return StepResult("auto", ground.folder, watch.seconds, metrics)

    @property
    def _front(self) -> list[Try]:
        return front(self.ground.memory.tries, self.goals)

    @property
    def _figures(self) -> dict[str, Figures]:
        """What each model costs, by its name."""
        made = self.ground.memory.made
        return dict(zip((each.label for each in made), figures(made), strict=True))

    def _found_words(self, chosen: Try | None, promise: Promise | None, *, partial: bool) -> str:
        if chosen is None:
            return f"No model meets the goals: {self.goals.nearest(self._figures)}."
        memory = self.ground.memory
        held = len(self.ground.held)
        why = "it does not answer every held-back text" if held else "too few validation texts to hold some back"
        sure = str(promise or f"{why}, so no interval can be promised")
        return outcome.found_words(
            str(self.goals), len(memory.made), in_words(memory.seconds), chosen.label, sure, partial=partial
        )

    def _report(self, chosen: Try | None, found: str, warning: str, *, partial: bool) -> None:
        """The winner and the front beside the teacher, on the test texts; and all tries."""
        ground, shown = self.ground, self._front
        models = [ground.teacher, *([ground.folder / BEST] if chosen else [])]
        models += [ground.folder / "front" / each.label for each in shown if each != chosen]
        search = {
            "found": found,
            "tries": outcome.as_points(ground.memory.made, {each.label for each in shown}, ground.metric),
            "chosen": chosen.label if chosen else "",
            "stages": outcome.stages(ground.memory.seconds_of, ground.memory.tries),
        }
        settings = {"threads": ground.config.threads, "metric": ground.metric}
        outcome.write_search_report(
            ground.folder / "report", models, ground.data, settings, search, warning=warning, partial=partial
        )

    def _promise(self, chosen: Try) -> tuple[Promise | None, str]:
        """What the held-back texts say of the winner, which they did not help to choose; or that it fails on one."""
        ground = self.ground
        if not len(ground.held):
            return None, ""
        try:
            with load(ground.tries / chosen.label, threads=ground.threads) as model:
                logits = model.logits(ground.held.texts)
        except NotFiniteError as error:  # all else that was found is still written
            return None, str(NotFiniteError.of_text(f"{chosen.label}, held-back text {error.row + 1}", error.row))
        judge, tests = self.judge, len(ground.data.test)
        before = ground.held_logits()
        return promise_of(ground.metric, judge.task, judge.labels, before, logits, ground.held, tests), ""

    def _write_winner(self, chosen: Try, found: str, metrics: dict[str, Any], watch: Stopwatch) -> None:
        ground = self.ground
        steps = steps_of(ground, self.planner.candidate, chosen, ground.memory.made)
        outcome.write_recipe(ground.folder, steps, str(self.goals), ground.config.seed)
        made = ground.tries / chosen.label
        entry = history_entry(ground.config, watch.seconds, metrics, str(ground.teacher), ground.checkpoint.digest)
        outcome.write_best(made, ground.folder / BEST, found, entry)

    def _metrics(self, chosen: Try | None, promise: Promise | None, *, missed: bool, partial: bool) -> dict[str, Any]:
        if chosen is None:
            return {}
        ms = self._figures[chosen.label].ms  # what it was chosen by
        own = {
            "model": chosen.label,
            "tries": len(self.ground.memory.tries),
            "speedup": round(self.goals.whole_ms / ms, 2),
            "latency_ms": ms,
            "megabytes": chosen.megabytes,
            "int8_ms": self.ground.memory.facts["whole"]["int8_ms"],
            "search_s": round(self.ground.memory.seconds, 1),
            "estimated_s": round(self.ground.memory.facts["estimated_s"], 1),
            "partial": partial,
        }
        if missed:
            own["goal_met_on_held_back"] = False
        return own | (promise.as_metrics() if promise else {})
