"""The end of a search: write the best model, the front, the report and the recipe."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from compress.benchmark.measure import bench
from compress.benchmark.report.page import write_report
from compress.benchmark.report.recommend import gains
from compress.clock import Stopwatch, in_words
from compress.config import BenchConfig
from compress.durable import write_whole
from compress.errors import CompressError
from compress.evaluation.comparison import compare_logits
from compress.folder import BEST, read_manifest, write_manifest
from compress.new_folder import new_folder
from compress.packaging.layout import finish_onnx_folder
from compress.progress import say
from compress.runtime.classifier import load
from compress.runtime.predictor import NotFiniteError
from compress.steps.step import StepResult, history_entry
from compress.tuning.candidates import Steps
from compress.tuning.cascades import steps_of
from compress.tuning.context import SearchContext
from compress.tuning.goals import Figures, Goals
from compress.tuning.planner import Planner
from compress.tuning.promise import Promise
from compress.tuning.record import GONE, delete_folder
from compress.tuning.tries import Try, best, figures, front

RECIPE = "recipe.yaml"
_SECONDS, _PARTIAL_SECONDS = 3.0, 0.5  # for timing each model of the report
_MOST_MEASURED = 6  # models in the report beside the teacher
_RECIPE_HEAD = """# What `compress auto` chose, for {goals}.
# `compress run recipe.yaml --out DIR` makes DIR/best again. The data are beside this file, as the search used them: its
# validation texts are those to choose by; the others were held back.
"""


@dataclass(frozen=True)
class Ending:
    """Chooses the winner among the tries of a search, and writes the results."""

    context: SearchContext
    planner: Planner
    goals: Goals

    def finish(self, watch: Stopwatch, *, partial: bool) -> StepResult:
        """Write everything; only then raise an error where no model meets the goals."""
        context, chosen = self.context, best(self.context.record.tries, self.goals)
        promise, broken = self._promise(chosen) if chosen else (None, "")
        missed = promise.missed_words(self.goals.max_drop) if promise else broken
        summary = " ".join(filter(None, [missed, self._summary(chosen, promise, partial=partial)]))
        metrics = self._metrics(chosen, promise, missed=bool(missed), partial=partial)
        write_front(context.tries, context.folder / "front", [each.label for each in self._front])
        if chosen:
            self._write_winner(chosen, summary, metrics, watch)
        else:  # delete the winner of an earlier search
            (context.folder / RECIPE).unlink(missing_ok=True)
            delete_folder(context.folder / BEST)
        self._report(chosen, summary, missed if chosen else summary, partial=partial)
        if missed:
            say(f"auto: {missed}")
        if partial:
            left = "the best model so far" if chosen else "the models so far in front, but none meets the goals yet"
            raise KeyboardInterrupt(f"{context.folder} has {left}; the same command goes on")
        if chosen is None:
            raise CompressError(
                f"auto: {summary} {context.folder / 'front'} has the models; to get one, allow {self.goals.to_allow}"
            )
        return StepResult("auto", context.folder, watch.seconds, metrics)

    @property
    def _front(self) -> list[Try]:
        return front(self.context.record.tries, self.goals)

    @property
    def _figures(self) -> dict[str, Figures]:
        """The figures of each model, by its name."""
        made = self.context.record.made
        return dict(zip((each.label for each in made), figures(made), strict=True))

    def _summary(self, chosen: Try | None, promise: Promise | None, *, partial: bool) -> str:
        """The outcome of the search in words, for the card and the report."""
        if chosen is None:
            return f"No model meets the goals: {self.goals.nearest(self._figures)}."
        record = self.context.record
        why = (
            "it does not answer every held-back text"
            if len(self.context.held)
            else "too few validation texts to hold some back"
        )
        sure = str(promise or f"{why}, so no interval can be promised")
        models = f"{len(record.made)} model{'s' * (len(record.made) != 1)}"
        took = f"{in_words(record.seconds)} {'before it was interrupted' if partial else 'in all'}"
        return f"compress auto looked for {self.goals}. It made {models} in {took} and took {chosen.label}; {sure}."

    def _report(self, chosen: Try | None, summary: str, warning: str, *, partial: bool) -> None:
        """Write the report: the winner and the front beside the teacher on the test texts, and all tries."""
        context, shown, winner = self.context, self._front, self.context.folder / BEST
        models = [context.teacher, *([winner] if chosen else [])]
        models += [context.folder / "front" / each.label for each in shown if each != chosen]
        settings = {"threads": context.config.threads, "metric": context.metric}
        config = BenchConfig.parse({**settings, "seconds": _PARTIAL_SECONDS if partial else _SECONDS})
        results = bench(models[: _MOST_MEASURED + 1], context.data.test, context.data.task, config)
        entry = next((each for each in results["models"] if each["path"] == str(winner)), None)
        if entry is not None:
            headline = f"{entry['name']}: {gains(entry)}"
            results["recommendation"] = {"name": entry["name"], "headline": headline, "why": summary}
        results["warnings"] = [*filter(None, [warning]), *results["warnings"]]
        results["partial"] = results["partial"] or partial
        results["search"] = {
            "found": summary,
            "tries": as_points(context.record.made, {each.label for each in shown}, context.metric),
            "chosen": chosen.label if chosen else "",
            "stages": _stages(context.record.seconds_of, context.record.tries),
        }
        with new_folder(context.folder / "report", overwrite=True) as folder:
            write_report(results, folder)
            (folder / "report.html").rename(folder / "index.html")

    def _promise(self, chosen: Try) -> tuple[Promise | None, str]:
        """The winner's loss on the held-back texts, or a message that it fails on one; neither without such texts."""
        context = self.context
        if not len(context.held):
            return None, ""
        try:
            with load(context.tries / chosen.label, threads=context.threads) as model:
                logits = model.logits(context.held.texts)
        except NotFiniteError as error:  # all else is still written
            return None, str(NotFiniteError.of_text(f"{chosen.label}, held-back text {error.row + 1}", error.row))
        data, (_, teacher) = context.data, context.teacher_logits()
        labels = context.checkpoint.labels
        targets = context.held.targets(labels, data.task)
        change = compare_logits(context.metric, data.task, labels, teacher, logits, targets)
        return Promise(change, len(data.test)), ""

    def _write_winner(self, chosen: Try, summary: str, metrics: dict[str, Any], watch: Stopwatch) -> None:
        context = self.context
        steps = steps_of(context, self.planner.candidate, chosen, context.record.made)
        _write_recipe(context.folder, steps, str(self.goals), context.config.seed)
        made = context.tries / chosen.label
        entry = history_entry(context.config, watch.seconds, metrics, str(context.teacher), context.checkpoint.digest)
        _write_best(made, context.folder / BEST, summary, entry)

    def _metrics(self, chosen: Try | None, promise: Promise | None, *, missed: bool, partial: bool) -> dict[str, Any]:
        if chosen is None:
            return {}
        record, ms = self.context.record, self._figures[chosen.label].ms  # the latency by which it was chosen
        own = {
            "model": chosen.label,
            "tries": len(record.tries),
            "speedup": round(self.goals.teacher_ms / ms, 2),
            "latency_ms": ms,
            "megabytes": chosen.megabytes,
            "int8_ms": self.context.times.int8_ms,
            "search_s": round(record.seconds, 1),
            "estimated_s": round(record.facts.estimated_s or 0.0, 1),
            "partial": partial,
        }
        if missed:
            own["goal_met_on_held_back"] = False
        return own | (promise.as_metrics() if promise else {})


def _write_recipe(folder: Path, steps: Steps, goals: str, seed: int) -> None:
    """Write ``recipe.yaml``: the steps of the winner, the last of them named ``best``."""
    *_, last = steps
    named = {BEST if name == last else name: dict(step) for name, step in steps.items()}
    recipe = {"data": "data", "seed": seed, "steps": named}
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    write_whole(folder / RECIPE, _RECIPE_HEAD.format(goals=goals) + text)


def write_front(source: Path, out: Path, names: Sequence[str]) -> None:
    """Copy the models ``names`` from ``source`` to ``out``, and delete those of an earlier search there."""
    for name in names:
        with new_folder(out / name, overwrite=True) as folder:
            shutil.copytree(source / name, folder, dirs_exist_ok=True)
    for path in list(out.glob("*")):  # only now, so that an error before takes no model away
        if path.is_dir() and path.name not in names:
            delete_folder(path)


def _write_best(made: Path, out: Path, summary: str, entry: Mapping[str, Any]) -> None:
    """Copy the winner to ``out``; its card tells the ``summary`` of the search, its history gets the ``entry``."""
    manifest = read_manifest(made)
    with new_folder(out, overwrite=True) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        manifest = replace(manifest, history=(*manifest.history, dict(entry)), files=())
        finish_onnx_folder(folder, out.name, manifest)
        card = folder / "README.md"
        card.write_text(card.read_text(encoding="utf-8") + f"\n## How it was found\n\n{summary}\n", encoding="utf-8")
        write_manifest(folder, manifest)


def as_points(tries: Sequence[Try], shown: set[str], metric: str) -> list[dict[str, Any]]:
    """The tries for the report's chart and table; the points of those ``shown`` get their names."""
    return [
        asdict(each)
        | {
            "name": each.label,
            "shown": each.label if each.label in shown else "",
            "accuracy": {"metric": metric, "value": each.value, "ci95": each.value_ci95},
            "answer_average": average,
            f"answer_{average}_ms": each.ms,
            f"answer_{average}_ci95": each.ms_ci95,
            "versus_first": {"speedup_p50": 1.0},
        }
        for each in tries
        for average in ["mean" if each.is_cascade else "p50"]
    ]


def _stages(seconds: Mapping[str, float], tries: Sequence[Try]) -> list[dict[str, Any]]:
    """The seconds of each stage of a search; ``seconds`` are those of the stages other than tries, by their names."""
    names = {"teacher": "training the teacher", "whole": "the teacher in int8", "cuts": "importance and latencies"}
    names |= {GONE: "tries that failed or were deleted"}
    rows = [
        {"stage": shown, "tries": None, "seconds": seconds[name]} for name, shown in names.items() if name in seconds
    ]
    by_stage: dict[str, list[Try]] = {}
    for each in sorted(tries, key=lambda each: (each.is_cascade, each.epochs)):
        length = f"{each.epochs:g} epoch{'s' * (each.epochs != 1)}" if each.epochs else "not trained"
        by_stage.setdefault("cascades" if each.is_cascade else length, []).append(each)
    for stage, own in by_stage.items():
        rows.append({"stage": stage, "tries": len(own), "seconds": sum(each.seconds for each in own)})
    return rows
