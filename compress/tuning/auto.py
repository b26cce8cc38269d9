"""auto: from what a model may cost to the best one that keeps to it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.clock import Stopwatch, in_words
from compress.config import AutoConfig
from compress.durable import told_in_one_line
from compress.errors import CompressError
from compress.locks import LockedError, locked
from compress.machine import processes, use_threads
from compress.paths import local_path
from compress.progress import say
from compress.runtime.predictor import predict_logits
from compress.runtime.session import OnnxPredictor
from compress.steps.step import StepResult, history_entry, split_settings
from compress.tuning import outcome
from compress.tuning.goals import Goals
from compress.tuning.ground import Ground
from compress.tuning.loop import Search
from compress.tuning.memory import LOCK, leave_nothing_behind, open_folder
from compress.tuning.planner import Planner
from compress.tuning.promise import Promise, promise_of
from compress.tuning.search import Try, best, figures, front


def auto(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Search for the best model that meets the goals: students, cuts, a smaller vocabulary, int8.

    Started again with the same ``out``, it goes on where it was stopped; with other goals it uses what was tried.

    Args:
        model: folder or hub id of a fine-tuned classifier, or of an encoder, which is trained first.
        data: texts and labels, as for :func:`compress.finetune`. Half of the validation texts are held back from all
            choices; what the model loses is told by them. The test texts are read once, for the report.
        out: the folder to write: ``best/``, ``front/``, ``report/`` and ``recipe.yaml``, which makes ``best`` again.
        overwrite: forget what ``out`` holds of an earlier search.
        **settings: those of :class:`compress.config.AutoConfig`.

    Raises:
        CompressError: no model meets the goals, which is said after the front is written; or the search cannot begin.
        KeyboardInterrupt: on Ctrl-C, after the best model so far is written, marked partial.
    """
    source, own = split_settings(settings, data)
    config = AutoConfig.parse(own)
    if processes() > 1:
        raise CompressError("auto: runs in one process; start it without torchrun or accelerate launch")
    folder = local_path(out)
    inputs = [local_path(model), *(local_path(name) for names in source.sources().values() for name in names)]
    open_folder(folder, tuple(inputs))
    use_threads(config.threads)
    try:
        with told_in_one_line(f"--out {out}", below=folder), locked(folder / LOCK):
            try:
                return _auto(Ground.of(str(model), source, config, folder, forget=overwrite))
            finally:
                leave_nothing_behind(folder)
    except LockedError:
        raise CompressError(f"--out {out}: another search is writing there; wait for it or choose another") from None


def _auto(ground: Ground) -> StepResult:
    watch = Stopwatch()
    planner = Planner(ground)
    planner.tell()
    ground.make_teacher()
    search = Search(ground, planner, ground.judge(), planner.goals(), planner.plan(told=True))
    say(f"auto: looking for {search.goals}")
    partial = False
    try:
        search.go_on()
    except KeyboardInterrupt:
        if not search.made:
            raise
        partial = True
        say("auto: interrupted; the best so far is written now")
    return _Ending(search, watch, partial).write()


@dataclass(frozen=True)
class _Ending:
    """What is done with the tries when the search is over, or was interrupted."""

    search: Search
    watch: Stopwatch
    partial: bool

    @property
    def ground(self) -> Ground:
        return self.search.ground

    @property
    def goals(self) -> Goals:
        return self.search.goals

    def write(self) -> StepResult:
        """Write everything; what meets no goal is said when all is written."""
        ground, chosen = self.ground, best(self.search.made, self.goals)
        promise = self._promise(chosen) if chosen else None
        missed = promise.missed_words(self.goals.max_drop) if promise else ""
        found = " ".join(filter(None, [missed, self._found_words(chosen, promise)]))
        metrics = self._metrics(chosen, promise)
        outcome.write_front(ground.tries, ground.folder / "front", [each.label for each in front(self.search.made)])
        if chosen:
            self._write_winner(chosen, found, metrics)
        else:
            outcome.remove_winner(ground.folder)
        self._report(chosen, found, missed if chosen else found)
        if missed:
            say(f"auto: {missed}")
        if self.partial:
            left = "the best model so far" if chosen else "the models so far in front, but none meets the goals yet"
            raise KeyboardInterrupt(f"{ground.folder} has {left}; the same command goes on")
        if chosen is None:
            raise CompressError(
                f"auto: {found} {ground.folder / 'front'} has the models; to get one, allow {self.goals.to_allow}"
            )
        return StepResult("auto", ground.folder, self.watch.seconds, metrics)

    def _found_words(self, chosen: Try | None, promise: Promise | None) -> str:
        if chosen is None:
            return f"No model meets the goals: {self.goals.nearest(figures(self.search.made))}."
        seconds = in_words(self.ground.memory.seconds)
        name = chosen.label
        return outcome.found_words(str(self.goals), len(self.search.made), seconds, name, promise, partial=self.partial)

    def _report(self, chosen: Try | None, found: str, warning: str) -> None:
        """The winner and the front beside the teacher, on the test texts; and all tries."""
        ground, shown = self.ground, front(self.search.made)
        models = [ground.teacher, *([ground.folder / outcome.BEST] if chosen else [])]
        models += [ground.folder / "front" / each.label for each in shown if each != chosen]
        search = {
            "found": found,
            "tries": outcome.as_points(self.search.made, {each.label for each in shown}, ground.metric),
            "chosen": chosen.label if chosen else "",
            "stages": self._stages(),
        }
        settings = {"threads": ground.config.threads, "metric": ground.metric}
        outcome.write_search_report(
            ground.folder / "report", models, ground.data, settings, search, warning=warning, partial=self.partial
        )

    def _promise(self, chosen: Try) -> Promise | None:
        """What the held-back texts say of the winner, which they did not help to choose."""
        ground = self.ground
        if not len(ground.held):
            return None
        model = OnnxPredictor.open(ground.tries / chosen.label, ground.threads)
        logits, judge = predict_logits(model, ground.held.texts), self.search.judge
        return promise_of(
            ground.metric, judge.task, judge.labels, ground.held_logits(), logits, ground.held, len(ground.data.test)
        )

    def _write_winner(self, chosen: Try, found: str, metrics: dict[str, Any]) -> None:
        ground = self.ground
        steps = ground.steps_of(self.search.planner.candidate(chosen.candidate), chosen.epochs)
        outcome.write_recipe(ground.folder, steps, str(self.goals), ground.config.seed)
        made = ground.tries / chosen.label
        entry = history_entry(ground.config, self.watch.seconds, metrics, str(ground.teacher), ground.checkpoint.digest)
        outcome.write_best(made, ground.folder / outcome.BEST, found, entry)

    def _metrics(self, chosen: Try | None, promise: Promise | None) -> dict[str, Any]:
        if chosen is None:
            return {}
        own = {
            "model": chosen.label,
            "tries": len(self.search.tries),
            "speedup": round(self.goals.whole_ms / chosen.ms, 2),
            "latency_ms": chosen.ms,
            "megabytes": chosen.megabytes,
            "int8_ms": self.ground.memory.facts["whole"]["int8_ms"],
            "search_s": round(self.ground.memory.seconds, 1),
            "estimated_s": round(self.ground.memory.facts["estimated_s"], 1),
            "partial": self.partial,
        }
        if promise and promise.missed_words(self.goals.max_drop):
            own["goal_met_on_held_back"] = False
        return own | (promise.as_metrics() if promise else {})

    def _stages(self) -> list[dict[str, Any]]:
        """What each stage took, in seconds."""
        known = self.ground.memory.seconds_of
        names = {"teacher": "training the teacher", "whole": "the teacher in int8", "cuts": "importance and latencies"}
        rows = [
            {"stage": shown, "tries": None, "seconds": known[name]} for name, shown in names.items() if name in known
        ]
        for epochs in sorted({each.epochs for each in self.search.tries}):
            own = [each for each in self.search.tries if each.epochs == epochs]
            what = f"{epochs} epochs" if epochs else "not trained"
            rows.append({"stage": what, "tries": len(own), "seconds": sum(each.seconds for each in own)})
        return rows
