"""Settings of what a student learns from its teacher, and of distill."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ImportString, field_serializer, model_validator

from compress.config.settings import Counted, Effect, LayerChoice, Names, Weight, function_by_name, one_or_more, setting
from compress.config.training import TrainingConfig


class DistillationConfig(TrainingConfig):
    """What a student learns from its teacher, shared by distill and prune."""

    freeze_embeddings: bool | None = setting(
        None, "leave the embedding tables as they are; default: yes where they are the teacher's own"
    )
    temperature: float = setting(2.0, "softens teacher and student logits", gt=0, le=100)
    soft_weight: Weight = setting(0.9, "weight of the teacher's soft labels")
    hard_weight: Weight = setting(0.1, "weight of the data's hard labels")
    embedding_weight: Weight = setting(0.0, "weight of the match of the embeddings' output")
    hidden_weight: Weight = setting(0.0, "weight of the match of hidden states, layer by layer")
    attention_weight: Weight = setting(0.0, "weight of the match of attention, layer by layer")
    relation_weight: Weight = setting(0.0, "weight of the match of query, key and value relations of one layer")
    layer_map: Counted | None = setting(
        None,
        "for each student layer the teacher layer that it imitates, such as 1,3,5; default: evenly spaced, "
        "the last imitates the last",
    )
    relation_layer: int | None = setting(
        None, "teacher layer whose relations the student's last layer takes; default: the last", ge=0
    )
    loss: Annotated[ImportString[Callable[..., Any]] | None, Names.FUNCTION] = setting(
        None,
        "a loss of your own, module.function: takes the student's states, the teacher's and the batch, gives a scalar",
    )
    loss_weight: Weight = setting(1.0, "weight of that loss")
    unlabeled: Annotated[str | None, Names.FILE] = setting(
        None, "more texts for the teacher to label: JSONL, Parquet, or one text a line"
    )
    unlabeled_text: Annotated[list[str], Names.COLUMN, BeforeValidator(one_or_more)] = setting(
        [], "column of those texts; default: that of the data", max_length=2
    )
    augment: int = setting(0, "altered copies of each train text for the teacher to label", ge=0, le=100)
    teacher_cache: Annotated[str | None, Names.FOLDER, Effect.NONE] = setting(
        None, "folder of the teacher's answers; default: $COMPRESS_CACHE, or compress in the user's cache"
    )
    cache_gb: Annotated[float, Effect.NONE] = setting(
        4.0, "most GB of hidden states to cache; if they take more, each batch is computed anew", ge=0
    )

    @field_serializer("loss", when_used="json-unless-none")
    def _loss_by_name(self, loss: Callable[..., Any]) -> str:
        return function_by_name(loss)


class DistillConfig(DistillationConfig):
    """distill: train a student on the teacher's soft labels and the data's hard labels."""

    command: ClassVar[str] = "distill"
    layers: LayerChoice | None = setting(
        None, "teacher layers to keep: a number of evenly spaced ones (default: half), or a list such as 0,2,4"
    )
    hidden_size: int | None = setting(None, "the student's hidden size; default: the teacher's", gt=0)
    ffn_size: int | None = setting(None, "FFN neurons of each student layer; default: the teacher's", gt=0)
    heads: int | None = setting(None, "attention heads of each student layer; default: the teacher's", gt=0)
    student: Annotated[str | None, Names.MODEL] = setting(
        None, "start from this BERT checkpoint instead of the teacher's layers"
    )
    epochs: int = setting(5, "passes over the train split", gt=0, le=1000)
    learning_rate: float = setting(1e-4, "peak learning rate of AdamW", gt=0, lt=1)

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        shaped = [name for name in ("layers", "hidden_size", "ffn_size", "heads") if getattr(self, name) is not None]
        if shaped and self.student is not None:
            raise ValueError(
                f"takes {shaped[0]} or student, not both; {shaped[0]} shapes a copy of the teacher, "
                "student names a checkpoint"
            )
        return self
