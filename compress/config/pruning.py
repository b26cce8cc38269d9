"""Settings of prune."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.config.distillation import DistillationConfig


class PruneConfig(DistillationConfig):
    """prune: remove attention heads and FFN neurons, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = Field(default=0.0, ge=0, lt=1, description="share of all attention heads to remove")
    ffn: float = Field(default=0.0, ge=0, lt=1, description="share of all FFN neurons to remove")
    target_latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="median latency to reach on this machine in the runtime; heads, neurons and layers go where they "
        "are missed least",
    )
    speedup: float | None = Field(
        default=None, gt=1, description="the same goal as a multiple of MODEL's own speed in the runtime"
    )
    dry_run: bool = Field(default=False, description="print what such a goal would leave, and stop: nothing is written")
    runtime: Literal["int8", "fp32", "cuda"] = Field(
        default="int8", description="what will serve the model: ONNX Runtime in int8 or fp32, or PyTorch on a GPU"
    )
    batch: int = Field(default=1, gt=0, description="texts that it will be asked for at a time")
    length: int | None = Field(default=None, ge=2, description="tokens of those texts; default: as the test texts come")
    teacher: str | None = Field(
        default=None, description="model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = Field(default=2048, gt=0, description="train texts from which the importance is measured")
    epochs: int = Field(default=2, gt=0, le=1000, description="passes over the train split")
    learning_rate: float = Field(default=5e-5, gt=0, lt=1, description="peak learning rate of AdamW")

    @property
    def has_target(self) -> bool:
        """Whether the goal is a latency, and not shares of heads and neurons."""
        return self.target_latency_ms is not None or self.speedup is not None

    @model_validator(mode="after")
    def _something_to_remove(self) -> Self:
        if not (self.heads or self.ffn or self.has_target):
            raise ValueError(
                "needs heads or ffn above 0, or speedup, or target_latency_ms; heads=0.25 removes a quarter of the "
                "attention heads, speedup=2 what halves the latency"
            )
        return self

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        given = [name for name in ("target_latency_ms", "speedup", "heads", "ffn") if getattr(self, name)]
        if self.has_target and len(given) > 1:
            raise ValueError(f"takes {given[0]} or {given[1]}, not both; a latency leaves open what is removed for it")
        if self.dry_run and not self.has_target:
            raise ValueError("needs speedup or target_latency_ms for dry_run, which shows what they would leave")
        return self
