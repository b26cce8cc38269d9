"""What all groups of settings share, the groups that many steps take, and errors that say what is allowed."""

import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Self

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ImportString,
    PlainSerializer,
    ValidationError,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from compress.errors import CompressError
from compress.formatting import shown


def _split_commas(value: object) -> object:
    """``"1,8"`` as typed on a command line is the list ``[1, 8]``; a lone ``"3"`` stays one value."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    return parts if len(parts) > 1 else parts[0]


def as_list(value: object) -> object:
    """``"1,8"``, ``1`` and ``[1]`` as lists."""
    value = _split_commas(value)
    return value if isinstance(value, list) else [value]


def _as_in_files(value: object) -> object:
    """A path of Python's as text and a tuple as a list, which is how command lines and recipes give them."""
    return str(value) if isinstance(value, PurePath) else list(value) if isinstance(value, tuple) else value


def _int_if_whole(value: float) -> float:
    return int(value) if value == int(value) else value


def setting(default: Any, description: str, **bounds: Any) -> Any:
    """A field with its description in help texts, schema and errors; required where ``default`` is ``...``."""
    return Field(default=default, description=description, **bounds)


def one_or_more(value: Any) -> Any:
    """A lone string becomes a list with one element."""
    return [value] if isinstance(value, str) else value


def _name_and_digest(function: Callable[..., Any]) -> str:
    """A function's name and a digest of its source: with another source under the same name it is another function."""
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    try:
        source = inspect.getsource(named)
    except (OSError, TypeError):  # made where there is no file, or not in Python
        source = ""
    return f"{named.__module__}.{named.__qualname__} ({hashlib.sha256(source.encode()).hexdigest()[:12]})"


def _imported(value: object, import_it: Callable[[object], Any]) -> Any:
    """The function that ``value`` names; whatever the user's module raises on import is reported in one line."""
    if isinstance(value, str) and not all(part.isidentifier() for part in re.split("[.:]", value)):
        raise PydanticCustomError("own_function", "should be the name of a function, as in module.function")
    try:
        if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - as sys.path has it: the user's modules are there
            sys.path.append(here)
        return import_it(value)
    except ValidationError:
        raise
    except Exception as error:  # noqa: BLE001 - it is the user's code
        raise PydanticCustomError(
            "own_function", "cannot be imported ({reason})", {"reason": f"{type(error).__name__}: {error}"}
        ) from None


Positive = Annotated[int, Gt(0)]
Weight = Annotated[float, Ge(0), Le(1e6)]
LayerNumbers = Annotated[list[Annotated[int, Ge(0)]], BeforeValidator(as_list)]
PositiveInts = Annotated[list[Positive], BeforeValidator(as_list)]
Seed = Annotated[int, Ge(0), Le(2**31 - 1)]
# Whole numbers of epochs are shown, and compared with those of earlier runs, as 3 and not as 3.0.
Epochs = Annotated[float, AfterValidator(_int_if_whole), PlainSerializer(lambda epochs: epochs)]
LayerChoice = Annotated[Positive | Annotated[list[Annotated[int, Ge(0)]], Len(1)], BeforeValidator(_split_commas)]
OwnFunction = Annotated[
    ImportString[Callable[..., Any]],
    WrapValidator(_imported),
    PlainSerializer(_name_and_digest, when_used="json"),
]


class Names(Enum):
    """What kind of thing a setting's value names, as its placeholder in help texts; a mark on the setting's type."""

    COLUMN = "COL"
    DATA = "D"
    FILE = "FILE"
    FOLDER = "DIR"  # one that the step also writes, such as a cache
    FUNCTION = "MODULE.FUNCTION"
    MODEL = "MODEL"
    OTHER = "NAME"


class Effect(Enum):
    """A mark, on the type of a setting, of an unusual effect on the step's result."""

    NONE = "it says how to compute, not what: a finished step stays as it is when it changes"


class Settings(BaseModel):
    """A frozen group of settings; an unknown one is refused in one line."""

    # A setting may be named like a keyword of Python, as ``for`` is: its field then ends in an underscore.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)
    command: ClassVar[str]

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Self:
        """Check ``values``; a :class:`CompressError` says what was given, what is allowed and what the setting does."""
        given = {name: _as_in_files(value) for name, value in values.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise CompressError(explain(cls, first, first["loc"])) from None

    @classmethod
    def marked(cls, *marks: Names | Effect) -> list[str]:
        """The names of the settings that have any of these marks, in their order."""
        fields = cls.model_fields.items()
        return [name for name, field in fields if any(mark in marks for mark in field.metadata)]

    def named(self, *kinds: Names) -> dict[str, list[str]]:
        """The values of the settings marked with these kinds, by setting: ``{"teacher": ["runs/t"]}``."""
        values = {name: getattr(self, name) for name in self.marked(*kinds)}
        return {name: one_or_more(value) for name, value in values.items() if value is not None}

    def renamed(self, rename: Callable[[str], str], *kinds: Names) -> Self:
        """A copy in which ``rename`` is applied to each value that :meth:`named` gives for these kinds."""
        lists = {name: [rename(value) for value in values] for name, values in self.named(*kinds).items()}
        lone = {name: values[0] for name, values in lists.items() if isinstance(getattr(self, name), str)}
        return self.model_copy(update=lists | lone)

    def sources(self) -> dict[str, list[str]]:
        """The models, files and data that the settings name, by setting; the step's result depends on their content."""
        return self.named(Names.DATA, Names.FILE, Names.MODEL)

    def without_effect(self) -> set[str]:
        """The settings that the step's result does not depend on, by name."""
        return set(self.marked(Effect.NONE))


class DataConfig(Settings):
    """Where the texts and labels are."""

    command: ClassVar[str] = "data"
    data: Annotated[str, Names.DATA] = setting(
        ..., "hub id, folder with train, validation and test files, or one file, such as CSV, JSONL or Parquet"
    )
    text: Annotated[
        list[str],
        Names.COLUMN,
        BeforeValidator(one_or_more, json_schema_input_type=str | Annotated[list[str], Len(0, 2)]),
    ] = setting([], "column with the text; give it twice for a pair of texts", max_length=2)
    label: Annotated[list[str], Names.COLUMN, BeforeValidator(one_or_more, json_schema_input_type=str | list[str])] = (
        setting([], "column with the label; give several that hold 0 and 1, one a label, for many labels a text")
    )
    encoding: Annotated[str | None, Names.OTHER] = setting(
        None, "encoding of text files that are not UTF-8, such as cp1252"
    )
    train: Annotated[str | None, Names.FILE] = setting(None, "file to use as the train split")
    validation: Annotated[str | None, Names.FILE] = setting(None, "file to use as the validation split")
    test: Annotated[str | None, Names.FILE] = setting(None, "file to use as the test split")
    split_seed: Seed = setting(0, "seed of the splits that are made for you")


class ThreadsConfig(Settings):
    """Settings of steps that compute on the CPU in this process."""

    threads: Annotated[int | None, Effect.NONE] = setting(
        None, "CPU threads; default: all that this process may use", gt=0
    )


def explain(settings: type[Settings], error: ErrorDetails, place: tuple[int | str, ...]) -> str:
    """One line about a mistake: the setting, what is allowed, what was given, what the setting is for."""
    if not place:  # a rule over several settings
        return f"{settings.command} {error['msg'].removeprefix('Value error, ')}"
    name = str(place[0]).removesuffix("_")
    where = f"{settings.command}.{name}"
    fields = {field.alias or key: field for key, field in settings.model_fields.items()}
    if error["type"] in ("extra_forbidden", "invalid_key"):  # a key that is no text is none of ours
        return f"{where} is not a setting; {settings.command} has {', '.join(fields)}"
    field = fields[name]
    if error["type"] == "missing":
        return f"{where} is required: {field.description}"
    given = error["input"] if isinstance(error["input"], str) and error["input"] else shown(error["input"], 200)
    number = _NUMBERS.get(error["type"].partition("_")[0])
    if number and not any(isinstance(part, str) for part in place[1:]):  # else it may be a list instead
        return f"{where} must be {number}, got {given}"
    return f"{where} {_allowed(field, error['msg'])}, got {given}; {field.description}"


_NUMBERS = {"float": "a number, written like 0.5", "int": "a whole number"}  # by the kind of pydantic's errors
_BOUNDS = {Gt: "above", Ge: "at least", Lt: "below", Le: "at most"}


def _allowed(field: FieldInfo, message: str) -> str:
    """The allowed values in words; pydantic's own message where the field has no bounds to name."""
    bounds = [
        f"{word} {getattr(bound, kind.__name__.lower()):.10g}"
        for kind, word in _BOUNDS.items()
        for bound in field.metadata
        if isinstance(bound, kind)
    ]
    if not bounds or "valid" in message:
        return message.replace("Input should", "should", 1)
    return "must be " + " and ".join(bounds)
