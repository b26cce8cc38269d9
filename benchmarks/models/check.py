"""A published model made again by its recipe, and compared with what was published."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.distillation import on_test
from benchmarks.models.publish import FIGURES, MODELS
from benchmarks.models.recipe import RECIPE
from compress.config import DataConfig, Names
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.data.dataset import write_dataset
from compress.formatting import metric_name, percent, percents
from compress.machine import describe_machine, package_versions, usable_cpus
from compress.recipes.recipe import Recipe, read_recipe
from compress.recipes.run import run
from compress.runtime.graph_file import INT8_GRAPH
from compress.runtime.session import OnnxPredictor
from compress.tuning.promise import divided

_OF_THE_MACHINE = ("cpu", "cpu_flags", "cores")
_SAME_SIZE = 0.01  # another version of a package writes a few bytes more or fewer


def check(name: str, data: Path | None) -> bool:
    """Make ``models/NAME`` again in a temporary folder; prints how it compares, and returns whether it is the same.

    Args:
        name: in ``models/``, the data set first.
        data: the folder that holds the data sets, by name; None: where the recipe says.
    """
    recipe = read_recipe(MODELS / name / RECIPE)
    figures = json.loads((MODELS / name / FIGURES).read_text(encoding="utf-8"))
    given = {} if data is None else {"data": str(data / name.partition("/")[0])}
    dataset = read_dataset(recipe.data.model_copy(update=given))
    if dataset.digest != figures["data_sha256"]:
        raise SystemExit(f"{name}: the data are not those that the search read; {RECIPE} says which they are")
    with TemporaryDirectory() as place:
        made = remake(recipe, figures["rows"], dataset, Path(place))
        same, said = compare(made, figures, dataset)
    print(f"{name}: {'made again' if same else 'DIFFERS'}, {said}")
    return same


def remake(recipe: Recipe, rows: Mapping[str, Mapping[str, int]], dataset: Dataset, place: Path) -> Path:
    """Every step in a run of its own, for they read different texts; returns the last step's folder.

    The teacher may have been trained with all validation texts; a search chooses by half of them.
    """
    texts = {"whole": dataset, "half": replace(dataset, validation=divided(dataset)[0])}
    for kind, splits in texts.items():
        (place / kind).mkdir()
        write_dataset(splits, place / kind)
    made: dict[str, str] = {}
    for name, step in recipe.steps.items():
        which = next((kind for kind, splits in texts.items() if _rows(splits) == rows[name]), None)
        if which is None:
            found = " or ".join(str(_rows(splits)) for splits in texts.values())
            raise SystemExit(f"{name} was made from {rows[name]} texts, these data have {found}; give the same data")
        own = step.renamed(lambda model: made.get(model, model), Names.MODEL)
        single = recipe.model_copy(update={"data": DataConfig(data=str(place / which)), "steps": {name: own}})
        run(single, place / f"run-{name}")
        made[name] = str(place / f"run-{name}" / name)
    return Path(made[name])


def compare(made: Path, figures: Mapping[str, Any], dataset: Dataset) -> tuple[bool, str]:
    """Whether it is the published model: its bytes where all is as it was, else parameters, size and test metric."""
    digest = hashlib.sha256((made / INT8_GRAPH).read_bytes()).hexdigest()
    if digest == figures["graph_sha256"]:
        return True, "byte for byte"
    if as_it_was(figures):
        return False, "other bytes on the same machine with the same packages"
    model, published = OnnxPredictor.open(made, usable_cpus()), figures["model"]
    elsewhere = "on another machine or with other packages"
    parameters, size = figures["parameters"], published["size_bytes"]
    if model.parameters != parameters or abs(model.size_bytes / size - 1) > _SAME_SIZE:
        found = f"{model.parameters:,} parameters and {model.size_bytes:,} bytes"
        return False, f"{found}, published {parameters:,} and {size:,}, {elsewhere}"
    metric, (low, high) = published["accuracy"]["metric"], published["accuracy"]["ci95"]
    value = on_test(model, dataset, metric)
    same = bool(low <= value <= high)
    said = f"{'the same within' if same else 'outside'} the interval of the test texts"
    words = f"{metric_name(metric)} {percent(value)}, published {percent(published['accuracy']['value'])}"
    return same, f"{said}: {words} ({percents((low, high))}), {elsewhere}"


def as_it_was(figures: Mapping[str, Any]) -> bool:
    """Whether this is the machine of the figures, with the packages that every step had."""
    here = describe_machine([usable_cpus()])
    machine = all(here[key] == figures["machine"][key] for key in _OF_THE_MACHINE)
    return machine and all(package_versions(tuple(one)) == one for one in figures["packages"])


def _rows(dataset: Dataset) -> dict[str, int]:
    return {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)}
