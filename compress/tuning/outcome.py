"""What a search leaves: the best model, the models of the front, the recipe that makes the best again, the report."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from compress.benchmark.measure import bench
from compress.benchmark.report.page import write_report
from compress.benchmark.report.recommend import gains
from compress.config import BenchConfig
from compress.data import Dataset
from compress.durable import write_whole
from compress.folder import BEST, read_manifest, write_manifest
from compress.new_folder import new_folder
from compress.packaging.layout import finish_onnx_folder
from compress.tuning.candidates import Steps
from compress.tuning.memory import GONE
from compress.tuning.tries import Try

RECIPE = "recipe.yaml"
_SECONDS, _PARTIAL_SECONDS = 3.0, 0.5
_MOST_MEASURED = 6  # models in the report beside the teacher
_RECIPE_HEAD = """# What `compress auto` chose, for {goals}.
# `compress run recipe.yaml --out DIR` makes DIR/best again. The data are beside this file, as the search used them: its
# validation texts are those to choose by; the others were held back.
"""


def write_recipe(folder: Path, steps: Steps, goals: str, seed: int) -> None:
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
            shutil.rmtree(path)


def write_best(made: Path, out: Path, found: str, entry: Mapping[str, Any]) -> None:
    """The winner under the name ``best``; card and history say how it was ``found``."""
    manifest = read_manifest(made)
    with new_folder(out, overwrite=True) as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        manifest = replace(manifest, history=(*manifest.history, dict(entry)), files=())
        finish_onnx_folder(folder, out.name, manifest)
        card = folder / "README.md"
        card.write_text(card.read_text(encoding="utf-8") + f"\n## How it was found\n\n{found}\n", encoding="utf-8")
        write_manifest(folder, manifest)


def remove_winner(folder: Path) -> None:
    """Take away the winner of an earlier search, and the recipe that makes it."""
    (folder / RECIPE).unlink(missing_ok=True)
    if (folder / BEST).exists():
        shutil.rmtree(folder / BEST)


def write_search_report(
    out: Path,
    models: Sequence[Path],
    dataset: Dataset,
    settings: Mapping[str, Any],
    search: Mapping[str, Any],
    *,
    warning: str,
    partial: bool,
) -> dict[str, Any]:
    """Measure ``models`` on the test texts, the teacher first, and write the page with the ``search`` in it.

    ``settings`` are bench's, and a ``warning`` comes before its own.

    Returns:
        What bench found.
    """
    config = BenchConfig.parse({**settings, "seconds": _PARTIAL_SECONDS if partial else _SECONDS})
    results = bench(models[: _MOST_MEASURED + 1], dataset.test, dataset.task, config)
    best = out.parent / BEST
    chosen = next((entry for entry in results["models"] if entry["path"] == str(best)), None)
    if chosen is not None:
        headline = {"name": chosen["name"], "headline": f"{chosen['name']}: {gains(chosen)}", "why": search["found"]}
        results["recommendation"] = headline
    results["warnings"] = [*filter(None, [warning]), *results["warnings"]]
    results["partial"] = results["partial"] or partial
    with new_folder(out, overwrite=True) as folder:
        write_report({**results, "search": search}, folder)
        (folder / "report.html").rename(folder / "index.html")
    return results


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


def found_words(goals: str, tries: int, seconds: str, name: str, sure: str, *, partial: bool) -> str:
    """How the winner was found, for its card and the report; ``sure`` says what is known of its loss."""
    ended = "before it was interrupted" if partial else "in all"
    models = f"{tries} model{'s' * (tries != 1)}"
    return f"compress auto looked for {goals}. It made {models} in {seconds} {ended} and took {name}; {sure}."


def stages(known_s: Mapping[str, float], tries: Sequence[Try]) -> list[dict[str, Any]]:
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
