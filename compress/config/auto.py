"""Settings of auto: what the model may cost, and how long the search may take."""

from typing import ClassVar, Self

from pydantic import model_validator

from compress.config.settings import Seed, ThreadsConfig, setting
from compress.task import Metric

GOALS = ("max_drop", "target_latency_ms", "speedup", "max_megabytes")


class AutoConfig(ThreadsConfig):
    """auto: search for the best model that meets the goals."""

    command: ClassVar[str] = "auto"
    max_drop: float | None = setting(
        None, "points that the model may lose against MODEL on validation; the fastest of those is wanted", ge=0, le=100
    )
    target_latency_ms: float | None = setting(
        None,
        "median time from a text to its answer on this machine, in int8, one text at a time; a cascade's mean",
        gt=0,
    )
    speedup: float | None = setting(None, "the same goal as a multiple of MODEL's speed in PyTorch", gt=1)
    max_megabytes: float | None = setting(None, "size of the int8 model in MB (a million bytes)", gt=0)
    hours: float | None = setting(
        None, "time that the search may take; default: what it needs, which it prints at the start", gt=0, le=1000
    )
    metric: Metric | None = setting(
        None,
        "what the loss is measured in; f1 is of the second of two labels; default: the metric that MODEL's training "
        "reported, else accuracy, or macro_f1 for multi-label",
    )
    seed: Seed = setting(0, "seed of everything random")

    @model_validator(mode="after")
    def _goals_fit_together(self) -> Self:
        if all(getattr(self, name) is None for name in GOALS):
            raise ValueError(f"needs a goal: {', '.join(GOALS[:-1])} or {GOALS[-1]}; max_drop=1 allows one point")
        if self.speedup is not None and self.target_latency_ms is not None:
            raise ValueError("takes speedup or target_latency_ms, not both; each of them names a latency")
        return self
