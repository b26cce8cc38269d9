"""Recipes: the data and steps of a pipeline in a YAML or TOML file, which editors can check against a schema."""

import json
import re
import tomllib
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import yaml
from annotated_types import Len
from pydantic import BeforeValidator, Field, ValidationError, create_model, model_validator

from compress.config import DataConfig, Names, Settings, explain
from compress.config.settings import Seed, one_or_more
from compress.errors import CompressError
from compress.formatting import shown
from compress.paths import local_path
from compress.steps.spec import STEPS, StepSpec

_MODEL = "an earlier step's name, a folder (relative to the recipe) or a hub id"


def _step_class(spec: StepSpec) -> type[Settings]:
    """The class of a step in a recipe: the step's settings, with its models and its name as settings too."""
    fields: dict[str, Any] = {"step": (Literal[spec.name], ...)}
    for model in spec.inputs:
        fields[model.name] = (
            (
                Annotated[
                    list[str],
                    Names.MODEL,
                    BeforeValidator(one_or_more, json_schema_input_type=str | Annotated[list[str], Len(1)]),
                ],
                Field(min_length=1, description=f"{model.help}; each {_MODEL}"),
            )
            if model.many
            else (Annotated[str, Names.MODEL], Field(description=_MODEL))
        )
    if "dry_run" in spec.settings.model_fields:
        fields["dry_run"] = (Literal[False], Field(default=False, description="a recipe's steps write their folders"))
    name = f"{spec.name.capitalize()}Step"
    return create_model(name, __base__=spec.settings, __doc__=f"{spec.name}, in a recipe.", **fields)


STEP_CLASSES = {name: _step_class(spec) for name, spec in STEPS.items()}
if TYPE_CHECKING:
    Step = Settings
else:
    Step = Annotated[reduce(or_, STEP_CLASSES.values()), Field(discriminator="step")]
StepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
_RESERVED = {"data", "run.json"}


def _data_by_name(value: object) -> object:
    return {"data": value} if isinstance(value, str) else value


class Recipe(Settings):
    """What to run: the data, and the steps in order, each named after the folder that it writes."""

    command: ClassVar[str] = "recipe"
    data: Annotated[DataConfig, BeforeValidator(_data_by_name, json_schema_input_type=str | DataConfig)] = Field(
        description="the data of all steps: a hub id, folder or file (relative to the recipe), or its settings"
    )
    steps: dict[StepName, Step] = Field(
        min_length=1,
        description="the steps in order; each writes the folder that it is named after",
        json_schema_extra={"additionalProperties": False},  # names that do not match the pattern
    )
    seed: Seed = Field(default=0, description="seed of every step that does not set its own")

    @model_validator(mode="after")
    def _names_are_free_and_inputs_come_first(self) -> Self:
        for name in _RESERVED & self.steps.keys():
            raise ValueError(f"cannot have a step named {name}; that name is taken in the output folder")
        for name, field, model in self.models():
            where = f"steps.{name}.{field} names {model}"
            if model == name and not self.starts_afresh(name):
                raise ValueError(f"{where}, the step itself; name an earlier step, a folder or a hub id")
            if model != name and model in self.steps and model not in self.earlier(name):
                raise ValueError(f"{where}, which is not an earlier step; move it up")
        return self

    def models(self) -> Iterator[tuple[str, str, str]]:
        """All models that steps name, as (step, setting, model)."""
        for name, step in self.steps.items():
            for field, models in step.named(Names.MODEL).items():
                yield from ((name, field, model) for model in models)

    def earlier(self, name: str) -> list[str]:
        """The names of the steps before this one, whose folders it may read."""
        names = list(self.steps)
        return names[: names.index(name)]

    def starts_afresh(self, name: str) -> bool:
        """Whether the step usually starts from a model of the hub, after which it may be named."""
        return self.steps[name].command == "finetune"


def read_recipe(file: str | Path) -> Recipe:
    """Read and check a recipe; relative paths in it are relative to its own folder."""
    path = local_path(file, "recipe")
    raw = _parse(path)
    if not isinstance(raw, dict):
        raise CompressError(f"{path}: a recipe is a table with data and steps, this is a {type(raw).__name__}")
    raw.pop("$schema", None)  # a key for editors
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise CompressError(f"{path}: {_explain(error)}") from None
    steps = {name: _located(step, path, recipe.earlier(name)) for name, step in recipe.steps.items()}
    located = recipe.model_copy(update={"data": _located(recipe.data, path, ()), "steps": steps})
    _refuse_misspelt(located, path)
    return located


def json_schema() -> str:
    """The JSON Schema of recipes, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"


class _OnceEach(yaml.SafeLoader):
    """Refuses a key that comes twice, as TOML does (YAML would silently take the later one).

    It also refuses a key that YAML does not read as text, such as ``on`` or ``100``.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            problem = None
            if not isinstance(key, yaml.ScalarNode):
                problem = "a name is a list or a table; is this a template whose braces nobody filled in?"
            elif key.tag == "tag:yaml.org,2002:merge":
                continue
            elif key.tag != "tag:yaml.org,2002:str":
                problem = f"YAML does not read the name {key.value} as text; put it in quotes"
            elif key.value in seen:
                problem = f"{key.value} is there twice"
            if problem is not None:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CompressError(f"{path}: no such file; give a recipe in YAML or TOML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CompressError(f"{path}: cannot be read ({error}); give a recipe in YAML or TOML, in UTF-8") from None
    try:
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _OnceEach)
    except Exception as error:  # noqa: BLE001 - for a malformed date, number or tag PyYAML raises anything
        reason = "too deeply nested" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise CompressError(f"{path}: is not valid {path.suffix[1:] or 'YAML'} ({reason:.500})") from None


def _explain(error: ValidationError) -> str:
    """One line for the first mistake, with the step that it is in."""
    first = error.errors()[0]
    match first["loc"]:
        case ("steps", str(name), str(kind), *rest) if kind in STEP_CLASSES:
            return f"steps.{name}: " + explain(STEP_CLASSES[kind], first, tuple(rest))
        case ("steps", str(name), *_) if first["type"].startswith("union_tag"):
            return (
                f"steps.{name}.step must be one of {', '.join(STEP_CLASSES)}, got {shown(first['input'].get('step'))}"
            )
        case ("steps", str(name)) if first["type"] == "model_attributes_type":
            return f"steps.{name} must be a table with step and its settings, got {shown(first['input'])}"
        case ("data", str(_), *_) as place:
            return explain(DataConfig, first, tuple(place[1:]))
        case place:
            return explain(Recipe, first, place)


def _located(settings: Settings, recipe: Path, steps: Collection[str]) -> Settings:
    """The settings with absolute paths for folders to write and for inputs that exist beside the recipe."""

    def locate(value: str, *, new: bool = False) -> str:
        path = local_path(recipe.parent / local_path(value, f"{recipe}:"), f"{recipe}:")
        # A link to a file keeps its name, whose suffix says what the file is.
        beside = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
        return str(beside) if value not in steps and (new or beside.exists()) else value

    located = settings.renamed(locate, Names.DATA, Names.FILE, Names.MODEL)
    return located.renamed(lambda value: locate(value, new=True), Names.FOLDER)


def _refuse_misspelt(recipe: Recipe, path: Path) -> None:
    """Refuse a misspelt name of a step: taken for a hub id, it would fail only when its turn comes, hours later."""
    for name, field, model in recipe.models():
        near = get_close_matches(model, recipe.earlier(name), n=1, cutoff=0.8)
        if near and not _may_be_meant(recipe, model, near[0]) and not Path(model).exists():
            raise CompressError(f"{path}: steps.{name}.{field}: there is no step {model}; did you mean {near[0]}?")


def _may_be_meant(recipe: Recipe, model: str, near: str) -> bool:
    """Whether a name near a step's is a model after all: steps are often named after the model they fine-tune."""
    fine_tuned = {source for name, _, source in recipe.models() if recipe.starts_afresh(name)}
    return (
        model == near
        or near in fine_tuned
        or ((model in fine_tuned or "/" in model) and _with_words_added(model, near))
    )


def _with_words_added(*names: str) -> bool:
    """Whether one of two names is the other with whole words added, or both are equal; either is no typing error."""
    shorter, longer = sorted(names, key=len)
    return re.search(rf"\b{re.escape(shorter)}\b", longer) is not None
