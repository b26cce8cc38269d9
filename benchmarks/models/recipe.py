"""The recipe that makes a published model, from its history: every step with the settings that decide its result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import yaml

from compress.recipes.recipe import Recipe
from compress.steps.spec import STEPS

RECIPE = "recipe.yaml"
_NAMES = {"finetune": "teacher", "distill": "student", "prune": "pruned", "quantize": "int8"}
# Written even where they are the default, which a later version may choose otherwise.
_ALWAYS = {"epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "patience"}
_ALWAYS |= {"temperature", "soft_weight", "hard_weight"}
_HEAD = """# Makes models/{name} again: compress run models/{name}/recipe.yaml --out DIR makes DIR/{last}.
# The search read half of the validation texts and held the others back; `python -m benchmarks.models check {name}`
# divides them in the same way.
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
    """The entries as they are published, ``data`` being what the recipe calls the data."""
    source = str(history[0]["parent"]["source"])
    taken: list[str] = []
    for entry in history:
        name = _free(_NAMES[entry["step"]], taken) if entry["step"] in _NAMES else ""
        whose = taken[0] if entry["step"] == "auto" else source
        own = entry | {"parent": entry["parent"] | {"source": whose}}
        for key in ("data", "read"):
            own |= {key: entry[key] | {"data": data}} if key in entry else {}
        yield Made(own, name, entry.get("read", {}).get("rows"))
        if name:
            taken.append(name)
            source = name


def recipe_text(name: str, made: Sequence[Made], data: str) -> str:
    """``recipe.yaml`` of ``models/NAME``; it is checked as every recipe is."""
    steps = {one.name: _step(one.entry) for one in made if one.name}
    recipe = {"data": data, "steps": steps}
    for where, model, _ in Recipe.parse(recipe).models():
        if PurePath(model).is_absolute():
            raise SystemExit(f"{where} is {model}, which nobody else has; begin the search at a model with a history")
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return _HEAD.format(name=name, last=list(steps)[-1]) + text


def _step(entry: Entry) -> Entry:
    spec = STEPS[entry["step"]]
    usual = spec.settings.model_construct().model_dump(mode="json")
    config = entry["config"].items()
    settings = {key: value for key, value in config if key in _ALWAYS or key not in usual or usual[key] != value}
    return {"step": spec.name, spec.inputs[0].name: entry["parent"]["source"], **settings}


def _free(name: str, taken: Sequence[str]) -> str:
    """``pruned``, or ``pruned-2`` where there is one."""
    count = sum(one.partition("-")[0] == name for one in taken)
    return f"{name}-{count + 1}" if count else name
