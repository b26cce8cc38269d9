"""Every setting of every step, declared once.

The Python keyword, the command-line flag, the recipe key, the JSON Schema and the help text all come from the fields
below; pydantic parses and checks the values wherever they come from, so an error reads the same everywhere.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ImportString,
    ValidationError,
    field_serializer,
    model_validator,
)
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
Weight = Annotated[float, Ge(0), Le(1e6)]
Counted = Annotated[list[Annotated[int, Ge(0)]], BeforeValidator(_as_list)]
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
    batch_size: int = Field(
        default=32, gt=0, description="texts in a batch of texts of mean length; all batches hold about as many tokens"
    )
    gradient_accumulation: int = Field(default=1, gt=0, description="batches in a training step")
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
    metric: Literal["accuracy", "macro_f1", "f1"] | None = Field(
        default=None,
        description="what decides the best checkpoint; f1 is of the second of two labels; default: accuracy, or "
        "macro_f1 for multi-label",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="arithmetic of forward and backward; auto: bf16 where the hardware has it"
    )
    freeze_embeddings: bool | None = Field(default=False, description="leave the embedding tables as they are (faster)")
    checkpoint_seconds: float = Field(
        default=60.0, ge=0, description="seconds of training between checkpoints, from which a killed step goes on"
    )
    track: Literal["tensorboard", "wandb", "mlflow", "trackio"] | None = Field(
        default=None, description="send losses and metrics to this tracker too; metrics.jsonl is always written"
    )


class FinetuneConfig(TrainingConfig):
    """finetune: train a classifier's head and body."""

    command: ClassVar[str] = "finetune"
    max_length: int | None = Field(
        default=None, ge=4, le=8192, description="tokens kept of each text; default: the model's own limit"
    )


class DistillationConfig(TrainingConfig):
    """What a student learns from its teacher, shared by distill and prune."""

    freeze_embeddings: bool | None = Field(
        default=None,
        description="leave the embedding tables as they are; default: yes where they are the teacher's own",
    )
    temperature: float = Field(default=2.0, gt=0, le=100, description="softens teacher and student logits")
    soft_weight: Weight = Field(default=0.9, description="weight of the teacher's soft labels")
    hard_weight: Weight = Field(default=0.1, description="weight of the data's hard labels")
    embedding_weight: Weight = Field(default=0.0, description="weight of the match of the embeddings' output")
    hidden_weight: Weight = Field(default=0.0, description="weight of the match of hidden states, layer by layer")
    attention_weight: Weight = Field(default=0.0, description="weight of the match of attention, layer by layer")
    relation_weight: Weight = Field(
        default=0.0, description="weight of the match of query, key and value relations of one layer"
    )
    layer_map: Counted | None = Field(
        default=None,
        description="for each student layer the teacher layer that it imitates, such as 1,3,5; default: evenly spaced, "
        "the last imitates the last",
    )
    relation_layer: int | None = Field(
        default=None,
        ge=0,
        description="teacher layer whose relations the student's last layer takes; default: the last",
    )
    loss: ImportString[Callable[..., Any]] | None = Field(
        default=None,
        description="a loss of your own, module.function: takes the student's states, the teacher's and the batch, "
        "gives a scalar",
    )
    loss_weight: Weight = Field(default=1.0, description="weight of that loss")
    unlabeled: str | None = Field(
        default=None, description="more texts for the teacher to label: JSONL, Parquet, or one text a line"
    )
    unlabeled_text: Annotated[list[str], BeforeValidator(_one_or_more)] = Field(
        default=[], max_length=2, description="column of those texts; default: that of the data's"
    )
    augment: int = Field(
        default=0, ge=0, le=100, description="altered copies of each train text for the teacher to label"
    )
    teacher_cache: str | None = Field(
        default=None,
        description="folder of the teacher's answers; default: $COMPRESS_CACHE, or compress in the user's cache",
    )
    cache_gb: float = Field(
        default=4.0, ge=0, description="hidden states that take more than so many GB are computed anew each time"
    )

    @field_serializer("loss", when_used="json-unless-none")
    def _loss_by_name(self, loss: Callable[..., Any]) -> str:
        """Its name, and a digest of its source: with another source under the same name it is another loss."""
        named: Any = loss if hasattr(loss, "__qualname__") else type(loss)
        try:
            source = inspect.getsource(named)
        except (OSError, TypeError):  # made where there is no file, or not in Python
            source = ""
        return f"{named.__module__}.{named.__qualname__} ({hashlib.sha256(source.encode()).hexdigest()[:12]})"


class DistillConfig(DistillationConfig):
    """distill: train a student on the teacher's soft labels and the data's hard labels."""

    command: ClassVar[str] = "distill"
    layers: LayerChoice | None = Field(
        default=None,
        description="teacher layers to keep: a number of evenly spaced ones (default: half), or a list such as 0,2,4",
    )
    hidden_size: int | None = Field(default=None, gt=0, description="the student's hidden size; default: the teacher's")
    ffn_size: int | None = Field(
        default=None, gt=0, description="FFN neurons of each student layer; default: the teacher's"
    )
    heads: int | None = Field(
        default=None, gt=0, description="attention heads of each student layer; default: the teacher's"
    )
    student: str | None = Field(
        default=None, description="start from this BERT checkpoint instead of the teacher's layers"
    )
    epochs: int = Field(default=5, gt=0, le=1000, description="passes over the train split")
    learning_rate: float = Field(default=1e-4, gt=0, lt=1, description="peak learning rate of AdamW")

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        shaped = [name for name in ("layers", "hidden_size", "ffn_size", "heads") if getattr(self, name) is not None]
        if shaped and self.student is not None:
            raise ValueError(
                f"takes {shaped[0]} or student, not both; {shaped[0]} shapes a copy of the teacher, "
                "student names a checkpoint"
            )
        return self


class PruneConfig(DistillationConfig):
    """prune: remove attention heads and FFN neurons, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = Field(default=0.0, ge=0, lt=1, description="share of all attention heads to remove")
    ffn: float = Field(default=0.0, ge=0, lt=1, description="share of all FFN neurons to remove")
    teacher: str | None = Field(
        default=None, description="model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = Field(default=2048, gt=0, description="train texts from which the importance is measured")
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
    max_drop: float = Field(
        default=1.0, ge=0, le=100, description="refuse to write a model that loses more points than this on validation"
    )
    portable: bool = Field(
        default=False,
        description="choose weights that no text can saturate on CPUs without VNNI; default: no validation text",
    )


class BenchConfig(Settings):
    """bench: accuracy on the test split, latency and size of each model, side by side."""

    command: ClassVar[str] = "bench"
    seed: int = Field(default=0, ge=0, description="seed of the bootstrap and of the texts that are timed")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where to run the models")
    provider: str = Field(
        default="CPU", description="onnxruntime's execution provider for ONNX models, such as CPU or OpenVINO"
    )
    batch: Counts = Field(default=[], description="batch sizes of the fixed-shape grid, such as 1,8")
    length: Counts = Field(default=[], description="lengths in tokens of the fixed-shape grid, such as 32,128")
    threads: Counts | None = Field(
        default=None, description="thread counts to measure, such as 1,2; default: all that this process may use"
    )
    seconds: float = Field(default=6.0, gt=0, le=3600, description="time to spend on each model and shape")
    baselines: bool = Field(
        default=False,
        description="add TF-IDF and static embeddings under logistic regression, trained on the train split",
    )
    rate: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="texts a second that arrive at random (Poisson), for the latencies that users would see",
    )
    price_per_hour: float | None = Field(
        default=None, gt=0, le=1e6, description="what this machine costs an hour; adds the cost of a million texts"
    )
    metric: Literal["accuracy", "macro_f1", "f1"] | None = Field(
        default=None,
        description="what to report; f1 is of the second of two labels; default: accuracy, or macro_f1 for multi-label",
    )


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
