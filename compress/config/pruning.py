"""Settings of prune."""

from typing import Any, ClassVar, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from compress.config.distillation import DistillationConfig


class PruneConfig(DistillationConfig):
    """prune: remove attention heads, FFN neurons and tokens, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = Field(default=0.0, ge=0, lt=1, description="share of all attention heads to remove")
    ffn: float = Field(default=0.0, ge=0, lt=1, description="share of all FFN neurons to remove")
    vocabulary: bool = Field(
        default=False,
        description="remove the tokens that neither the train texts nor --unlabeled have, the 8,000 commonest aside",
    )
    teacher: str | None = Field(
        default=None, description="model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = Field(default=2048, gt=0, description="train texts from which the importance is measured")
    epochs: int = Field(
        default=2,
        ge=0,
        le=1000,
        description="passes over the train split; 0: no training; default: 2, or 0 where only the vocabulary is cut",
    )
    learning_rate: float = Field(default=5e-5, gt=0, lt=1, description="peak learning rate of AdamW")

    @property
    def narrows(self) -> bool:
        """Whether layers get narrower."""
        return self.heads > 0 or self.ffn > 0

    @model_validator(mode="wrap")
    @classmethod
    def _vocabulary_alone_needs_no_training(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        config = handler(values)
        unsaid = "epochs" not in config.model_fields_set
        return config if config.narrows or not unsaid else handler({**values, "epochs": 0})

    @model_validator(mode="after")
    def _something_to_remove(self) -> Self:
        if not self.narrows and not self.vocabulary:
            raise ValueError(
                "needs heads or ffn above 0, or vocabulary; heads=0.25 removes a quarter of the attention heads"
            )
        return self
