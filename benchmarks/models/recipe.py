"""The recipe that makes a published model, from its history: every step with the settings that decide its result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from compress.config import Names
from compress.config.training import COUNTED_WEIGHTS
from compress.recipes.recipe import Recipe
from compress.steps.spec import STEPS

RECIPE = "recipe.yaml"
CLASS_WEIGHTS = "class_weights.json"  # beside the recipe, where a file of weights was given
_NAMES = {"finetune": "teacher", "distill": "student", "prune": "pruned", "quantize": "int8"}
# Written even where they are the default, which a later version may choose otherwise.
_ALWAYS = {"epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "patience"}
_ALWAYS |= {"temperature", "soft_weight", "hard_weight"}
# How the data were read, but for files, which are where the data are.
_OF_DATA = ("text", "label", "encoding", "split_seed")
DATA_SETS = {
    "banking77": "train.csv and test.csv of Banking77 (PolyAI, CC BY 4.0)",
    "goemotions": "train.jsonl, dev.jsonl and test.jsonl of GoEmotions (Google, Apache 2.0)",
    "mrpc": "msr_paraphrase_train.txt and msr_paraphrase_test.txt of the Microsoft Research Paraphrase Corpus",
    "sst2": "train.tsv of GLUE's SST-2 (Socher et al. 2013), and its dev set as test.tsv",
}
"""What the folder of each holds."""
_HEAD = """# compress run models/{name}/recipe.yaml --out DIR makes a model like models/{name}, as DIR/{last}.
# It is another one, for the search held half of the validation texts back and this reads them all;
# `python -m benchmarks.models check {name}` divides them as the search did, and compares.
# The data: {data}.
"""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """One entry of a history, as it is published: of no machine's folders.

    Attributes:
        entry: with the names of the recipe's steps for the folders.
        name: of the recipe's step; empty where the recipe needs none, since ``quantize`` exports by itself.
        rows: of the splits that the step read.
    """

    entry: Entry
    name: str
    rows: dict[str, int] | None


def published(history: Sequence[Entry], data: str) -> Iterator[Made]:
    """The entries as they are published, ``data`` being what the recipe calls the data.

    Which other files of this machine held the data, and where it keeps its caches, is left out.
    """
    source = str(history[0]["parent"]["source"])
    taken: list[str] = []
    for entry in history:
        name = _free(_NAMES[entry["step"]], taken) if entry["step"] in _NAMES else ""
        whose = taken[0] if entry["step"] == "auto" else source
        own = entry | {"parent": entry["parent"] | {"source": whose}}
        if "data" in entry:
            own["data"] = {"data": data} | {key: entry["data"][key] for key in _OF_DATA if key in entry["data"]}
        if "read" in entry:
            own["read"] = entry["read"] | {"data": data}
        caches = STEPS[entry["step"]].settings.marked(Names.FOLDER) if entry["step"] in STEPS else set()
        own["config"] = {key: None if key in caches else value for key, value in entry["config"].items()}
        if weights_file(entry):
            own["config"]["class_weights"] = CLASS_WEIGHTS
        yield Made(own, name, entry.get("read", {}).get("rows"))
        if name:
            taken.append(name)
            source = name


def weights_file(entry: Entry) -> str | None:
    """The file of class weights that this step of a history read, if any."""
    choice = entry["config"].get("class_weights")
    return None if choice in COUNTED_WEIGHTS else choice


def recipe_text(name: str, made: Sequence[Made], data: str) -> str:
    """``recipe.yaml`` of ``models/NAME``; it is checked as every recipe is."""
    steps = {one.name: _step(one.entry) for one in made if one.name}
    recipe = {"data": _data(made, data), "steps": steps}
    _refuse_what_is_here_alone(Recipe.parse(recipe))
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    where = DATA_SETS.get(name.partition("/")[0], data)
    return _HEAD.format(name=name, last=list(steps)[-1], data=where) + text


def _refuse_what_is_here_alone(recipe: Recipe) -> None:
    for step, settings in recipe.steps.items():
        files = settings.marked(Names.FILE)
        for setting, name in ((setting, name) for setting, names in settings.sources().items() for name in names):
            where = f"steps.{step}.{setting} is {name}, which nobody else has"
            if name == CLASS_WEIGHTS:
                continue
            if setting in files:
                raise SystemExit(f"{where}; publish a model that was made without it")
            if PurePath(name).is_absolute() or (name not in recipe.steps and Path(name).exists()):
                raise SystemExit(f"{where}; begin the search at a model with a history")


def _data(made: Sequence[Made], data: str) -> str | Entry:
    """The data with how they were read, as the first step says that was told; later ones read the search's own copy."""
    for one in made:
        if read := {key: value for key, value in one.entry.get("data", {}).items() if key in _OF_DATA}:
            return {"data": data, **read}
    return data


def _step(entry: Entry) -> Entry:
    spec = STEPS[entry["step"]]
    usual = spec.settings.model_construct().model_dump(mode="json")
    taken = entry["metrics"].get("trained_with", {})  # where the settings left it open
    config = [(key, taken.get(key) if value is None else value) for key, value in entry["config"].items()]
    settings = {key: value for key, value in config if key in _ALWAYS or key not in usual or usual[key] != value}
    return {"step": spec.name, spec.inputs[0].name: entry["parent"]["source"], **settings}


def _free(name: str, taken: Sequence[str]) -> str:
    """``pruned``, or ``pruned-2`` where there is one."""
    count = sum(one.partition("-")[0] == name for one in taken)
    return f"{name}-{count + 1}" if count else name
