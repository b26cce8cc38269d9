"""From a search to a folder in ``models/``: the model, its recipe, its figures on the test texts, its card."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.models.recipe import CLASS_WEIGHTS, RECIPE, Made, published, recipe_text, weights_file
from compress.folder import MANIFEST, read_manifest, write_manifest
from compress.formatting import capital, metric_name, milliseconds, percent, percents
from compress.new_folder import new_folder
from compress.packaging.layout import finish_onnx_folder
from compress.runtime.graph_file import INT8_GRAPH
from compress.folder import SEARCH

MODELS = Path(__file__).parents[2] / "models"
FIGURES = "figures.json"
MOST_BYTES = 8_000_000  # what a clone should not be made to carry
_CARD = "README.md"

Row = dict[str, Any]


def publish(search: Path, name: str, data: str, model: str | None = None, report: Path | None = None) -> Path:
    """Copy the search's winner, or ``model`` of its front, to ``models/NAME``; what was there goes.

    Args:
        search: the folder that ``compress auto`` wrote.
        name: in ``models/``, the data set first.
        data: what the recipe calls the data, a hub id or a path relative to the recipe.
        model: the name of a folder in ``front/``.
        report: of ``compress bench`` over the teacher and this model, instead of the search's own.
    """
    if Path(data).is_absolute():
        raise SystemExit(f"--data {data}: is a path of this machine; give a hub id, or a path relative to the recipe")
    source = search / "front" / model if model else search / "best"
    manifest = read_manifest(source)
    if manifest.hand_on_below is not None:
        raise SystemExit(f"{source}: is a cascade, two models in one; give --model, a single one of the front")
    history = manifest.history
    made = list(published(history, data))
    recipe = recipe_text(name, made, data)
    results = json.loads(((report or search / "report") / "results.json").read_text(encoding="utf-8"))
    figures = figures_of(results, source, made) | {"data_sha256": _data_digest(search)}
    out = MODELS / name
    if (out / FIGURES).is_file() and not (out / MANIFEST).is_file():
        shutil.rmtree(out)  # a card without a model, which no step would replace
    with new_folder(out, overwrite=True) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST, _CARD))
        manifest = replace(manifest, history=tuple(one.entry for one in made), files=())
        finish_onnx_folder(folder, f"models/{name}", manifest)
        card = folder / _CARD
        found = "" if model else results.get("search", {}).get("found", "")
        text = card.read_text(encoding="utf-8")
        if not figures["kept"]:
            text = _of_one_to_make(text, name, [one.name for one in made if one.name][-1])
        card.write_text(text + _more(name, figures, found), encoding="utf-8")
        (folder / RECIPE).write_text(recipe, encoding="utf-8")
        for weights in filter(None, map(weights_file, history)):
            shutil.copyfile(weights, folder / CLASS_WEIGHTS)
        (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        if figures["kept"]:
            write_manifest(folder, manifest)
        else:
            _leave_out_the_model(folder)
    return out


def _of_one_to_make(card: str, name: str, last: str) -> str:
    """The card of a model that is left out: first of all how to make one, and that one is loaded below."""
    title, folder = f"# models/{name}\n", f"runs/{name}/{last}"
    first = (
        f"\nThe model itself is too large for the repository: `compress run models/{name}/{RECIPE} --out runs/{name}` "
        f"makes one like it in `{folder}`.\n"
    )
    about, heading, loading = card.replace(title, title + first, 1).partition("\n## How to load it\n")
    return about + heading + loading.replace(f"models/{name}", folder)


def figures_of(results: Row, source: Path, made: list[Made]) -> Row:
    """What the report says of the model in ``source`` and of its teacher, and what making it again needs."""
    entries = {entry["name"]: entry for entry in results["models"]}
    if source.name not in entries:
        raise SystemExit(f"the report has no model {source.name}, only {', '.join(entries)}; give another --report")
    own, teacher = entries[source.name], results["models"][0]
    graph = (source / INT8_GRAPH).read_bytes()
    packages = [one.entry["packages"] for one in made]
    return {
        "kept": len(graph) <= MOST_BYTES,
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "rows": {one.name: one.rows for one in made if one.name},
        "packages": [one for number, one in enumerate(packages) if one not in packages[:number]],
        "machine": results["machine"],
        "created": results["created"],
        "warnings": results["warnings"],
        "test_texts": results["test_texts"],
        "threads": results["settings"]["threads"],
        "parameters": own["parameters"],
        "versus_teacher": own["versus_first"],
        "model": _measured(own),
        "teacher": _measured(teacher),
        "teacher_int8": _measured(entries["teacher-int8"]) if "teacher-int8" in entries else None,
    }


def _data_digest(search: Path) -> str:
    """Of the whole data, as the search read them."""
    return str(json.loads((search / SEARCH).read_text(encoding="utf-8"))["about"]["data"])


def _measured(entry: Row) -> Row:
    names = ("accuracy", "size_bytes", "answer_p50_ms", "answer_p95_ms", "backend", "precision")
    accuracy = {key: entry["accuracy"][key] for key in ("metric", "value", "ci95")}
    return {name: entry[name] for name in names} | {"accuracy": accuracy}


def _more(name: str, figures: Row, found: str) -> str:
    """The card's sections on this model alone."""
    machine, metric = figures["machine"], metric_name(figures["model"]["accuracy"]["metric"])
    lines = [f"| | {metric} (95%) | text to answer | size |", "|---|--:|--:|--:|"]
    for title, row in (("the teacher, fp32 in PyTorch", figures["teacher"]), ("this model", figures["model"])):
        score = f"{percent(row['accuracy']['value'])} ({percents(row['accuracy']['ci95'])})"
        lines.append(f"| {title} | {score} | {milliseconds(row['answer_p50_ms'])} | {row['size_bytes'] / 1e6:.1f} MB |")
    where = (
        f"{capital(metric)} on {figures['test_texts']:,} test texts that were used for no choice; median time of a "
        f"text alone, threads: {', '.join(map(str, figures['threads']))}, {machine['cpu']} "
        f"({', '.join(machine['cpu_flags'])}), {figures['created'][:10]}."
    )
    doubts = "".join(f"\n- {one}" for one in figures["warnings"])
    again = f"`python -m benchmarks.models check {name} --data FOLDER` makes one by the same steps and compares."
    sections = {"On the test texts": "\n".join([*lines, "", where]) + doubts, "How it was found": found}
    sections["How to make it again"] = again
    return "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items() if text)


def _leave_out_the_model(folder: Path) -> None:
    """Keep card, recipe with its class weights, and figures alone."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (_CARD, RECIPE, FIGURES, CLASS_WEIGHTS):
            path.unlink()
