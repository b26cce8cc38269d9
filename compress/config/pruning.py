"""Settings of prune."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, ImportString, Tag, field_serializer, model_validator

from compress.config.distillation import DistillationConfig
from compress.config.settings import function_by_name


def _named_or_own(value: object) -> str:
    return "own" if callable(value) or "." in str(value) else "named"


ImportanceChoice = Annotated[
    Annotated[Literal["fisher", "magnitude", "random"], Tag("named")]
    | Annotated[ImportString[Callable[..., Any]], Tag("own")],
    Discriminator(_named_or_own),
]


class PruneConfig(DistillationConfig):
    """prune: remove attention heads and FFN neurons, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = Field(default=0.0, ge=0, lt=1, description="share of all attention heads to remove")
    ffn: float = Field(default=0.0, ge=0, lt=1, description="share of all FFN neurons to remove")
    importance: ImportanceChoice = Field(
        default="fisher",
        description="what ranks heads and neurons: fisher (squared gradients on the sample), magnitude, random, or "
        "module.function of your own, which takes the checkpoint and the sample and gives a "
        "compress.pruning.importance.Importance",
    )
    teacher: str | None = Field(
        default=None, description="model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = Field(default=2048, gt=0, description="train texts from which the importance is measured")
    epochs: int = Field(default=2, gt=0, le=1000, description="passes over the train split")
    learning_rate: float = Field(default=5e-5, gt=0, lt=1, description="peak learning rate of AdamW")

    @field_serializer("importance", when_used="json")
    def _importance_by_name(self, importance: str | Callable[..., Any]) -> str:
        return importance if isinstance(importance, str) else function_by_name(importance)

    @model_validator(mode="after")
    def _something_to_remove(self) -> Self:
        if self.heads == 0 and self.ffn == 0:
            raise ValueError("needs heads or ffn above 0; heads=0.25 removes a quarter of the attention heads")
        return self
