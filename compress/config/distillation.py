"""Settings of what a student learns from its teacher, and of distill."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, ImportString, field_serializer, model_validator

from compress.config.settings import Counted, Effect, LayerChoice, Names, Weight, function_by_name, one_or_more
from compress.config.training import TrainingConfig


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
    loss: Annotated[ImportString[Callable[..., Any]] | None, Names.FUNCTION] = Field(
        default=None,
        description="a loss of your own, module.function: takes the student's states, the teacher's and the batch, "
        "gives a scalar",
    )
    loss_weight: Weight = Field(default=1.0, description="weight of that loss")
    unlabeled: Annotated[str | None, Names.FILE] = Field(
        default=None, description="more texts for the teacher to label: JSONL, Parquet, or one text a line"
    )
    unlabeled_text: Annotated[list[str], Names.COLUMN, BeforeValidator(one_or_more)] = Field(
        default=[], max_length=2, description="column of those texts; default: that of the data's"
    )
    augment: int = Field(
        default=0, ge=0, le=100, description="altered copies of each train text for the teacher to label"
    )
    teacher_cache: Annotated[str | None, Names.FOLDER, Effect.NONE] = Field(
        default=None,
        description="folder of the teacher's answers; default: $COMPRESS_CACHE, or compress in the user's cache",
    )
    cache_gb: Annotated[float, Effect.NONE] = Field(
        default=4.0, ge=0, description="hidden states that take more than so many GB are computed anew each time"
    )

    @field_serializer("loss", when_used="json-unless-none")
    def _loss_by_name(self, loss: Callable[..., Any]) -> str:
        return function_by_name(loss)


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
    student: Annotated[str | None, Names.MODEL] = Field(
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
