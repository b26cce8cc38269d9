"""Settings of prune."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, ImportString, Tag, field_serializer, model_validator

from compress.config.distillation import DistillationConfig
from compress.config.settings import LayerChoice, function_by_name


def _named_or_own(value: object) -> str:
    return "own" if callable(value) or "." in str(value) else "named"


ImportanceChoice = Annotated[
    Annotated[Literal["fisher", "magnitude", "random"], Tag("named")]
    | Annotated[ImportString[Callable[..., Any]], Tag("own")],
    Discriminator(_named_or_own),
]


class PruneConfig(DistillationConfig):
    """prune: remove layers, attention heads, FFN neurons and hidden dimensions, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = Field(default=0.0, ge=0, lt=1, description="share of all attention heads to remove")
    ffn: float = Field(default=0.0, ge=0, lt=1, description="share of all FFN neurons to remove")
    importance: ImportanceChoice = Field(
        default="fisher",
        description="what ranks heads and neurons: fisher (squared gradients on the sample), magnitude, random, or "
        "module.function of your own, which takes the checkpoint and the sample and gives a "
        "compress.pruning.importance.Importance",
    )
    layers: LayerChoice | None = Field(
        default=None,
        description="layers to keep: a number of evenly spaced ones, or a list such as 0,2,4; heads and ffn are shares "
        "of these; default: all",
    )
    hidden_size: int | None = Field(default=None, gt=0, description="hidden size to cut down to; default: the model's")
    rounds: int = Field(
        default=1,
        gt=0,
        le=100,
        description="cuts in which heads and ffn are removed, each followed by its share of the epochs",
    )
    teacher: str | None = Field(
        default=None, description="model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = Field(
        default=2048, gt=0, description="train texts that importance and least squares are measured on"
    )
    epochs: int = Field(default=2, gt=0, le=1000, description="passes over the train split")
    learning_rate: float = Field(default=5e-5, gt=0, lt=1, description="peak learning rate of AdamW")

    @field_serializer("importance", when_used="json")
    def _importance_by_name(self, importance: str | Callable[..., Any]) -> str:
        return importance if isinstance(importance, str) else function_by_name(importance)

    @model_validator(mode="after")
    def _something_to_remove(self) -> Self:
        if not (self.heads or self.ffn or self.layers or self.hidden_size):
            raise ValueError(
                "needs heads or ffn above 0, layers or hidden_size; heads=0.25 removes a quarter of the attention heads"
            )
        return self

    @model_validator(mode="after")
    def _an_epoch_a_round(self) -> Self:
        if self.rounds > 1 and self.rounds > self.epochs:
            raise ValueError(f"needs an epoch for each of {self.rounds} rounds, got epochs={self.epochs}")
        if self.rounds > 1 and not (self.heads or self.ffn):
            raise ValueError(f"needs heads or ffn above 0 for {self.rounds} rounds; layers and hidden_size go at once")
        return self
