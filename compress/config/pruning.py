"""Settings of prune."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from compress.config.distillation import DistillationConfig


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
