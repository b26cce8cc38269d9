"""Every setting of every step, declared once.

The Python keyword, the command-line flag, the recipe key, the JSON Schema and the help text all come from the fields
below; pydantic parses and checks the values wherever they come from, so an error reads the same everywhere.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from compress.errors import CompressError


def _split_commas(value: object) -> object:
    """``"1,8"`` as typed on a command line is the list ``[1, 8]``; a lone ``"3"`` stays one value."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    return parts if len(parts) > 1 else parts[0]


def _as_list(value: object) -> object:
    value = _split_commas(value)
    return value if isinstance(value, list) else [value]


Positive = Annotated[int, Gt(0)]
Counts = Annotated[list[Positive], BeforeValidator(_as_list)]
LayerChoice = Annotated[Positive | Annotated[list[Annotated[int, Ge(0)]], Len(1)], BeforeValidator(_split_commas)]


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Settings(BaseModel):
    """A frozen group of settings that refuses what it does not know, in one line."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    command: ClassVar[str]

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Self:
        """Check ``values``; a :class:`CompressError` says what was given, what is allowed and what the setting does."""
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise CompressError(explain(cls, first, first["loc"])) from None

    @classmethod
    def take(cls, values: dict[str, Any]) -> Self:
        """Take this group's settings out of ``values`` and check them; what is left belongs to another group."""
        return cls.parse({name: values.pop(name) for name in cls.model_fields if name in values})


class DataConfig(Settings):
    """Where the texts and labels are."""

    command: ClassVar[str] = "data"
    data: str = Field(
        description="hub id, folder with train/validation/test files, or one CSV, TSV, JSONL or Parquet file"
    )
    text: Annotated[
        list[str], BeforeValidator(_one_or_more, json_schema_input_type=str | Annotated[list[str], Len(0, 2)])
    ] = Field(default=[], max_length=2, description="column with the text; give it twice for a pair of texts")
    label: str | None = Field(default=None, description="column with the label")
    train: str | None = Field(default=None, description="file to use as the train split")
    validation: str | None = Field(default=None, description="file to use as the validation split")
    test: str | None = Field(default=None, description="file to use as the test split")
    split_seed: int = Field(default=0, ge=0, description="seed of the splits that are made for you")


class ThreadsConfig(Settings):
    """For steps that compute on the CPU in this process."""

    threads: int | None = Field(default=None, gt=0, description="CPU threads; default: all that this process may use")


class TrainingConfig(ThreadsConfig):
    """The training loop, shared by finetune, distill and prune."""

    seed: int = Field(default=0, ge=0, description="seed of everything random in the step")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where to compute")
    epochs: int = Field(default=3, gt=0, le=1000, description="passes over the train split")
    batch_size: int = Field(default=32, gt=0, description="texts in a training step")
    learning_rate: float = Field(default=3e-5, gt=0, lt=1, description="peak learning rate of AdamW")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the rate warms up")
    weight_decay: float = Field(
        default=0.01, ge=0, lt=1, description="AdamW's decay of weights (not biases, not norms)"
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are clipped at this norm, after backward")
    eval_steps: int | None = Field(
        default=None, gt=0, description="validate every so many steps; default: twice an epoch"
    )
    patience: int = Field(default=6, gt=0, description="stop after so many validations without a better metric")
    metric: Literal["accuracy", "macro_f1"] | None = Field(
        default=None, description="what decides the best checkpoint; default: accuracy, or macro_f1 for multi-label"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="arithmetic of forward and backward; auto: bf16 where the hardware has it"
    )
    freeze_embeddings: bool = Field(default=False, description="leave the embedding tables as they are (faster)")


class FinetuneConfig(TrainingConfig):
    """finetune: train a classifier's head and body."""

    command: ClassVar[str] = "finetune"
    max_length: int | None = Field(
        default=None, ge=4, le=8192, description="tokens kept of each text; default: the model's own limit"
    )


class DistillConfig(TrainingConfig):
    """distill: train a student on the teacher's soft labels and the data's hard labels."""

    command: ClassVar[str] = "distill"
    layers: LayerChoice | None = Field(
        default=None,
        description="teacher layers to keep: a number of evenly spaced ones (default: half), or a list such as 0,2,4",
    )
    student: str | None = Field(
        default=None, description="start from this BERT checkpoint instead of the teacher's layers"
    )
    temperature: float = Field(default=2.0, gt=0, le=100, description="softens teacher and student logits")
    hard_weight: float = Field(
        default=0.1, ge=0, le=1, description="weight of the hard labels; the soft ones get the rest"
    )
    epochs: int = Field(default=5, gt=0, le=1000, description="passes over the train split")
    learning_rate: float = Field(default=1e-4, gt=0, lt=1, description="peak learning rate of AdamW")

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if self.layers is not None and self.student is not None:
            raise ValueError("takes layers or student, not both; layers copies the teacher, student names a checkpoint")
        return self


class PruneConfig(TrainingConfig):
    """prune: remove attention heads and FFN neurons, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = Field(default=0.0, ge=0, lt=1, description="share of all attention heads to remove")
    ffn: float = Field(default=0.0, ge=0, lt=1, description="share of all FFN neurons to remove")
    teacher: str | None = Field(
        default=None, description="model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = Field(default=2048, gt=0, description="train texts from which the importance is measured")
    temperature: float = Field(default=2.0, gt=0, le=100, description="softens teacher and student logits")
    hard_weight: float = Field(
        default=0.1, ge=0, le=1, description="weight of the hard labels; the soft ones get the rest"
    )
    epochs: int = Field(default=2, gt=0, le=1000, description="passes over the train split")
    learning_rate: float = Field(default=5e-5, gt=0, lt=1, description="peak learning rate of AdamW")

    @model_validator(mode="after")
    def _something_to_remove(self) -> Self:
        if self.heads == 0 and self.ffn == 0:
            raise ValueError("needs heads or ffn above 0; heads=0.25 removes a quarter of the attention heads")
        return self


class ExportConfig(ThreadsConfig):
    """export: write an fp32 ONNX graph that gives the same logits."""

    command: ClassVar[str] = "export"
    pairs: bool = Field(
        default=False, description="the model reads pairs of texts; needed where it does not say so itself"
    )


class QuantizeConfig(ThreadsConfig):
    """quantize: write an ONNX graph with int8 weights and dynamic int8 activations."""

    command: ClassVar[str] = "quantize"
    max_drop: float | None = Field(
        default=None, ge=0, le=100, description="refuse to write a model that loses more points than this on validation"
    )


class BenchConfig(Settings):
    """bench: accuracy on the test split, latency and size of each model, side by side."""

    command: ClassVar[str] = "bench"
    seed: int = Field(default=0, ge=0, description="seed of the bootstrap and of the texts that are timed")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where to run the models")
    batch: Counts = Field(default=[], description="batch sizes of the fixed-shape grid, such as 1,8")
    length: Counts = Field(default=[], description="lengths in tokens of the fixed-shape grid, such as 32,128")
    threads: Counts | None = Field(
        default=None, description="thread counts to measure, such as 1,2; default: all that this process may use"
    )
    seconds: float = Field(default=6.0, gt=0, le=3600, description="time to spend on each model and shape")


def explain(settings: type[Settings], error: ErrorDetails, place: tuple[int | str, ...]) -> str:
    """One line for a mistake: the setting, what is allowed, what was given, what the setting is for.

    Args:
        settings: the group of settings that the mistake is in.
        error: what pydantic says of it.
        place: where it is in the group: the setting's name, and what lies inside.
    """
    if not place:  # a rule over several settings
        return f"{settings.command} {error['msg'].removeprefix('Value error, ')}"
    name = str(place[0])
    where = f"{settings.command}.{name}"
    if error["type"] == "extra_forbidden":
        return f"{where} is not a setting; {settings.command} has {', '.join(settings.model_fields)}"
    field = settings.model_fields[name]
    if error["type"] == "missing":
        return f"{where} is required: {field.description}"
    given = error["input"] if isinstance(error["input"], str) and error["input"] else repr(error["input"])
    return f"{where} {_allowed(field, error['msg'])}, got {given}; {field.description}"


_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (Gt, "gt", "above"),
    (Ge, "ge", "at least"),
    (Lt, "lt", "below"),
    (Le, "le", "at most"),
)


def _allowed(field: FieldInfo, message: str) -> str:
    """The allowed values in words; pydantic's own message where the field has no bounds to name."""
    bounds = [
        f"{word} {getattr(bound, attribute):g}"
        for kind, attribute, word in _BOUNDS
        for bound in field.metadata
        if isinstance(bound, kind)
    ]
    if not bounds or "valid" in message:
        return message.replace("Input should", "should", 1)
    return "must be " + " and ".join(bounds)
