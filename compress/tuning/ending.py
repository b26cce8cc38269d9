"""The end of a search: the best model, what it loses on the texts that were held back, and all that is written."""

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
from compress.tuning.goals import Figures, Goals
from compress.tuning.ground import Ground
from compress.tuning.memory import GONE, take_away
from compress.tuning.planner import Planner
from compress.tuning.promise import Promise
from compress.tuning.tries import Try, best, figures, front

RECIPE = "recipe.yaml"
_SECONDS, _PARTIAL_SECONDS = 3.0, 0.5
_MOST_MEASURED = 6  # models in the report beside the teacher
_RECIPE_HEAD = """# What `compress auto` chose, for {goals}.
# `compress run recipe.yaml --out DIR` makes DIR/best again. The data are beside this file, as the search used them: its
# validation texts are those to choose by; the others were held back.
"""


@dataclass(frozen=True)
class Ending:
    """What is left of the tries of a search."""

    ground: Ground
    planner: Planner
    goals: Goals

    def finish(self, watch: Stopwatch, *, partial: bool) -> StepResult:
        """Write everything; what meets no goal is said when all is written."""
        ground, chosen = self.ground, best(self.ground.memory.tries, self.goals)
        promise, broken = self._promise(chosen) if chosen else (None, "")
        missed = promise.missed_words(self.goals.max_drop) if promise else broken
        found = " ".join(filter(None, [missed, self._found_words(chosen, promise, partial=partial)]))
        metrics = self._metrics(chosen, promise, missed=bool(missed), partial=partial)
        write_front(ground.tries, ground.folder / "front", [each.label for each in self._front])
        if chosen:
            self._write_winner(chosen, found, metrics, watch)
        else:  # nor is one of an earlier search left
            (ground.folder / RECIPE).unlink(missing_ok=True)
            take_away(ground.folder / BEST)
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
        """What came of it, for the card and the report."""
        if chosen is None:
            return f"No model meets the goals: {self.goals.nearest(self._figures)}."
        memory = self.ground.memory
        why = (
            "it does not answer every held-back text"
            if len(self.ground.held)
            else "too few validation texts to hold some back"
        )
        sure = str(promise or f"{why}, so no interval can be promised")
        models = f"{len(memory.made)} model{'s' * (len(memory.made) != 1)}"
        took = f"{in_words(memory.seconds)} {'before it was interrupted' if partial else 'in all'}"
        return f"compress auto looked for {self.goals}. It made {models} in {took} and took {chosen.label}; {sure}."

    def _report(self, chosen: Try | None, found: str, warning: str, *, partial: bool) -> None:
        """The winner and the front beside the teacher, on the test texts, below the ``warning``; and all tries."""
        ground, shown, winner = self.ground, self._front, self.ground.folder / BEST
        models = [ground.teacher, *([winner] if chosen else [])]
        models += [ground.folder / "front" / each.label for each in shown if each != chosen]
        settings = {"threads": ground.config.threads, "metric": ground.metric}
        config = BenchConfig.parse({**settings, "seconds": _PARTIAL_SECONDS if partial else _SECONDS})
        results = bench(models[: _MOST_MEASURED + 1], ground.data.test, ground.data.task, config)
        entry = next((each for each in results["models"] if each["path"] == str(winner)), None)
        if entry is not None:
            headline = f"{entry['name']}: {gains(entry)}"
            results["recommendation"] = {"name": entry["name"], "headline": headline, "why": found}
        results["warnings"] = [*filter(None, [warning]), *results["warnings"]]
        results["partial"] = results["partial"] or partial
        results["search"] = {
            "found": found,
            "tries": as_points(ground.memory.made, {each.label for each in shown}, ground.metric),
            "chosen": chosen.label if chosen else "",
            "stages": _stages(ground.memory.seconds_of, ground.memory.tries),
        }
        with new_folder(ground.folder / "report", overwrite=True) as folder:
            write_report(results, folder)
            (folder / "report.html").rename(folder / "index.html")

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
        data, (_, teacher) = ground.data, ground.teacher_logits()
        labels = ground.checkpoint.labels
        targets = ground.held.targets(labels, data.task)
        change = compare_logits(ground.metric, data.task, labels, teacher, logits, targets)
        return Promise(change, len(data.test)), ""

    def _write_winner(self, chosen: Try, found: str, metrics: dict[str, Any], watch: Stopwatch) -> None:
        ground = self.ground
        steps = steps_of(ground, self.planner.candidate, chosen, ground.memory.made)
        _write_recipe(ground.folder, steps, str(self.goals), ground.config.seed)
        made = ground.tries / chosen.label
        entry = history_entry(ground.config, watch.seconds, metrics, str(ground.teacher), ground.checkpoint.digest)
        _write_best(made, ground.folder / BEST, found, entry)

    def _metrics(self, chosen: Try | None, promise: Promise | None, *, missed: bool, partial: bool) -> dict[str, Any]:
        if chosen is None:
            return {}
        memory, ms = self.ground.memory, self._figures[chosen.label].ms  # by which it was chosen
        own = {
            "model": chosen.label,
            "tries": len(memory.tries),
            "speedup": round(self.goals.whole_ms / ms, 2),
            "latency_ms": ms,
            "megabytes": chosen.megabytes,
            "int8_ms": self.ground.times.int8_ms,
            "search_s": round(memory.seconds, 1),
            "estimated_s": round(memory.facts.estimated_s or 0.0, 1),
            "partial": partial,
        }
        if missed:
            own["goal_met_on_held_back"] = False
        return own | (promise.as_metrics() if promise else {})


def _write_recipe(folder: Path, steps: Steps, goals: str, seed: int) -> None:
    """``recipe.yaml``: the winner's own steps, the last of which is called ``best``."""
    *_, last = steps
    named = {BEST if name == last else name: dict(step) for name, step in steps.items()}
    recipe = {"data": "data", "seed": seed, "steps": named}
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    write_whole(folder / RECIPE, _RECIPE_HEAD.format(goals=goals) + text)


def write_front(source: Path, out: Path, names: Sequence[str]) -> None:
    """The models ``names`` of the folder ``source``, in ``out``; what is there of an earlier search goes."""
    for name in names:
        with new_folder(out / name, overwrite=True) as folder:
            shutil.copytree(source / name, folder, dirs_exist_ok=True)
    for path in list(out.glob("*")):  # only now: what fails before takes no model away
        if path.is_dir() and path.name not in names:
            take_away(path)


def _write_best(made: Path, out: Path, found: str, entry: Mapping[str, Any]) -> None:
    """The winner under the name ``best``; card and history say how it was ``found``."""
    manifest = read_manifest(made)
    with new_folder(out, overwrite=True) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        manifest = replace(manifest, history=(*manifest.history, dict(entry)), files=())
        finish_onnx_folder(folder, out.name, manifest)
        card = folder / "README.md"
        card.write_text(card.read_text(encoding="utf-8") + f"\n## How it was found\n\n{found}\n", encoding="utf-8")
        write_manifest(folder, manifest)


def as_points(tries: Sequence[Try], shown: set[str], metric: str) -> list[dict[str, Any]]:
    """The tries for the report's chart and table; ``shown`` are the names to write beside their points."""
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


def _stages(known_s: Mapping[str, float], tries: Sequence[Try]) -> list[dict[str, Any]]:
    """What each stage of a search took, in seconds; ``known_s`` is what its facts took, by their names."""
    names = {"teacher": "training the teacher", "whole": "the teacher in int8", "cuts": "importance and latencies"}
    names |= {GONE: "tries that failed or were deleted"}
    rows = [
        {"stage": shown, "tries": None, "seconds": known_s[name]} for name, shown in names.items() if name in known_s
    ]
    by_stage: dict[str, list[Try]] = {}
    for each in sorted(tries, key=lambda each: (each.is_cascade, each.epochs)):
        length = f"{each.epochs:g} epoch{'s' * (each.epochs != 1)}" if each.epochs else "not trained"
        by_stage.setdefault("cascades" if each.is_cascade else length, []).append(each)
    for stage, own in by_stage.items():
        rows.append({"stage": stage, "tries": len(own), "seconds": sum(each.seconds for each in own)})
    return rows
