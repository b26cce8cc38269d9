"""Settings of check, calibrate and cascade."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from compress.config.settings import Seed, ThreadsConfig, setting
from compress.task import Metric


class CheckConfig(ThreadsConfig):
    """check: whether a model may take the place of another, by their answers to the test split."""

    command: ClassVar[str] = "check"
    max_drop: float = setting(1.0, "points of the metric that the new model may lose", ge=0, le=100)
    max_negative_flips: float | None = setting(
        None, "percent of the texts that the old model got right and the new one may get wrong", ge=0, le=100
    )
    metric: Metric | None = setting(
        None,
        "what --max-drop limits; f1 is of the second of two labels; default: accuracy, or macro_f1 for multi-label",
    )
    speed: bool = setting(True, "measure the time from a text to its label")
    seconds: float = setting(3.0, "time to spend on the speed of each model", gt=0, le=3600)
    seed: Seed = setting(0, "seed of the bootstrap and of the texts that are timed")


class CalibrateConfig(ThreadsConfig):
    """calibrate: scores that can be read as probabilities, and when a score is enough to answer."""

    command: ClassVar[str] = "calibrate"
    thresholds: Literal["f1", "none"] = setting(
        "f1", "for multi-label tasks: f1, the score with the best F1 of each label; none, 0.5 for all"
    )
    min_precision: float | None = setting(
        None, "for multi-label tasks: of each label the least score that keeps this precision, in percent", gt=0, le=100
    )
    max_error: float | None = setting(
        None,
        "for tasks with one label a text: abstain where the score is low, so that of what is answered at most this "
        "percent is wrong, with 95% confidence",
        gt=0,
        lt=100,
    )
    seed: Seed = setting(
        0, "seed of the third of the validation texts that fits the temperature where an error is bounded"
    )

    @model_validator(mode="after")
    def _thresholds_keep_the_precision(self) -> Self:
        if self.thresholds == "none" and self.min_precision is not None:
            raise ValueError(
                f"cannot keep a precision of {self.min_precision:g}% with thresholds of none; leave out one of "
                "thresholds and min_precision"
            )
        return self


class CascadeConfig(ThreadsConfig):
    """cascade: a small model that answers where it is sure, and hands the other texts on to a large one."""

    command: ClassVar[str] = "cascade"
    max_drop: float = setting(
        0.3, "points of accuracy that it may lose against the large model, with 95% confidence", gt=0, lt=100
    )
    seconds: float = setting(3.0, "time to spend on the speed of each model", gt=0, le=3600)
    seed: Seed = setting(0, "seed of the texts that are timed")

    def without_effect(self) -> set[str]:
        """As for any step, but the models' speeds, on which the result depends, are measured with ``threads``."""
        return super().without_effect() - {"threads"}
