"""A recipe: the data and the steps of a pipeline, as a YAML or TOML file that editors can check against a schema."""

import json
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from compress.config import (
    BenchConfig,
    DataConfig,
    DistillConfig,
    ExportConfig,
    FinetuneConfig,
    PruneConfig,
    QuantizeConfig,
    Settings,
    explain,
)
from compress.errors import CompressError

_MODEL = "an earlier step's name, a folder (relative to the recipe) or a hub id"


FILES = ("unlabeled",)
"""Settings that name a file; it counts by its content, and is looked for beside the recipe."""


class FinetuneStep(FinetuneConfig):
    """finetune, in a recipe."""

    inputs: ClassVar = ("model",)
    step: Literal["finetune"]
    model: str = Field(description=_MODEL)


class DistillStep(DistillConfig):
    """distill, in a recipe."""

    inputs: ClassVar = ("teacher", "student")
    step: Literal["distill"]
    teacher: str = Field(description=_MODEL)


class PruneStep(PruneConfig):
    """prune, in a recipe."""

    inputs: ClassVar = ("model", "teacher")
    step: Literal["prune"]
    model: str = Field(description=_MODEL)
    dry_run: Literal[False] = Field(default=False, description="a recipe's steps write their folders")


class ExportStep(ExportConfig):
    """export, in a recipe."""

    inputs: ClassVar = ("model",)
    step: Literal["export"]
    model: str = Field(description=_MODEL)


class QuantizeStep(QuantizeConfig):
    """quantize, in a recipe."""

    inputs: ClassVar = ("model",)
    step: Literal["quantize"]
    model: str = Field(description=_MODEL)


class BenchStep(BenchConfig):
    """bench, in a recipe."""

    inputs: ClassVar = ("models",)
    step: Literal["bench"]
    models: list[str] = Field(min_length=1, description=f"the models to measure, the reference first; each {_MODEL}")


Step = FinetuneStep | DistillStep | PruneStep | ExportStep | QuantizeStep | BenchStep
StepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
_RESERVED = ("data", "run.json")


def _data_by_name(value: object) -> object:
    return {"data": value} if isinstance(value, str) else value


class Recipe(Settings):
    """What to run: the data, and the steps in order, each named after the folder that it writes."""

    command: ClassVar[str] = "recipe"
    data: Annotated[DataConfig, BeforeValidator(_data_by_name, json_schema_input_type=str | DataConfig)] = Field(
        description="the data of all steps: a hub id, folder or file (relative to the recipe), or its settings"
    )
    steps: dict[StepName, Annotated[Step, Field(discriminator="step")]] = Field(
        min_length=1,
        description="the steps in order; each writes the folder that it is named after",
        json_schema_extra={"additionalProperties": False},  # other names than the pattern's
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of every step that does not set its own")

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        for name in self.steps:
            if name in _RESERVED:
                raise ValueError(f"cannot have a step named {name}; that name is taken in the output folder")
        return self

    @model_validator(mode="after")
    def _inputs_come_first(self) -> Self:
        later = set(self.steps)
        for name, step in self.steps.items():
            for field in step.inputs:
                given = getattr(step, field)
                for value in given if isinstance(given, list) else [given]:
                    if value in later:
                        raise ValueError(
                            f"steps.{name}.{field} names {value}, which is not an earlier step; move it up"
                        )
            later.remove(name)
        return self


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; relative paths in it are meant from its own folder."""
    raw = _parse(path)
    if not isinstance(raw, dict):
        raise CompressError(f"{path}: a recipe is a table with data and steps, this is a {type(raw).__name__}")
    raw.pop("$schema", None)  # a key for editors
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise CompressError(f"{path}: {_explain(error)}") from None
    located = _located(recipe, path.parent)
    _refuse_misspelt(located, path)
    return located


def json_schema() -> str:
    """The JSON Schema of recipes, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"


class _OnceEach(yaml.SafeLoader):
    """Refuses a key that comes twice, as TOML does; YAML would take the later one and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
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
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise CompressError(
            f"{path}: is not valid {path.suffix[1:] or 'YAML'} ({' '.join(str(error).split())})"
        ) from None


def _explain(error: ValidationError) -> str:
    """One line for the first mistake, with the step that it is in."""
    first = error.errors()[0]
    kinds = {step.model_fields["step"].annotation.__args__[0]: step for step in Step.__args__}
    match first["loc"]:
        case ("steps", str(name), str(kind), *rest) if kind in kinds:
            return f"steps.{name}: " + explain(kinds[kind], first, tuple(rest))
        case ("steps", str(name), *_) if first["type"].startswith("union_tag"):
            return f"steps.{name}.step must be one of {', '.join(kinds)}, got {first['input'].get('step')!r}"
        case ("steps", str(name)) if first["type"] == "model_attributes_type":
            return f"steps.{name} must be a table with step and its settings, got {first['input']!r}"
        case ("data", str(_), *_) as place:
            return explain(DataConfig, first, tuple(place[1:]))
        case place:
            return explain(Recipe, first, place)


def _located(recipe: Recipe, folder: Path) -> Recipe:
    """Paths that exist beside the recipe, made independent of the working directory."""

    def locate(value: Any) -> Any:
        if isinstance(value, list):
            return [locate(one) for one in value]
        beside = folder / value if isinstance(value, str) else None
        return str(beside.resolve()) if beside is not None and beside.exists() else value

    files = {name: locate(getattr(recipe.data, name)) for name in ("data", "train", "validation", "test")}
    steps = {
        name: step.model_copy(
            update={field: _unless_step(getattr(step, field), recipe, locate) for field in step.inputs}
            | {field: locate(getattr(step, field)) for field in FILES if getattr(step, field, None) is not None}
        )
        for name, step in recipe.steps.items()
    }
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=files), "steps": steps})


def _refuse_misspelt(recipe: Recipe, path: Path) -> None:
    """A step's name with a slip would be taken for a hub id, which fails only when its turn comes, hours later."""
    earlier: list[str] = []
    for name, step in recipe.steps.items():
        for field in step.inputs:
            given = getattr(step, field)
            for value in given if isinstance(given, list) else [given]:
                near = get_close_matches(value, earlier, n=1, cutoff=0.8) if value is not None else []
                if near and value not in earlier and not Path(value).exists():
                    raise CompressError(
                        f"{path}: steps.{name}.{field}: there is no step {value}; did you mean {near[0]}?"
                    )
        earlier.append(name)


def _unless_step(value: Any, recipe: Recipe, locate: Any) -> Any:
    if isinstance(value, list):
        return [_unless_step(one, recipe, locate) for one in value]
    return value if value in recipe.steps else locate(value)
