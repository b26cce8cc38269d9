"""Settings of prune."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Tag, model_validator

from compress.config.settings import Epochs, LayerChoice, Names, OwnFunction, setting
from compress.config.training import DistillationConfig


def _named_or_own(value: object) -> str:
    return "own" if callable(value) or "." in str(value) else "named"


ImportanceChoice = Annotated[
    Annotated[Literal["surgeon", "fisher", "magnitude", "random"], Tag("named")] | Annotated[OwnFunction, Tag("own")],
    Discriminator(_named_or_own),
]


class PruneConfig(DistillationConfig):
    """prune: remove layers, heads, FFN neurons, hidden dimensions and tokens, then train to recover."""

    command: ClassVar[str] = "prune"
    heads: float = setting(0.0, "share of all attention heads to remove", ge=0, lt=1)
    ffn: float = setting(0.0, "share of all FFN neurons to remove", ge=0, lt=1)
    target_latency_ms: float | None = setting(
        None,
        "median latency to reach on this machine with --runtime; heads, neurons and layers are removed where that "
        "costs the least accuracy",
        gt=0,
    )
    speedup: float | None = setting(None, "the same goal, as a multiple of MODEL's own speed", gt=1)
    dry_run: bool = setting(False, "print the plan for such a goal; nothing is written")
    runtime: Literal["int8", "fp32", "cuda"] = setting(
        "int8", "what will serve the model: ONNX Runtime in int8 or fp32, or PyTorch on a GPU"
    )
    batch: int = setting(1, "texts in a batch, for the latency", gt=0)
    length: int | None = setting(None, "tokens of each of those texts; default: as in the test texts", ge=2)
    importance: ImportanceChoice = setting(
        "surgeon",
        "how heads and neurons are ranked: surgeon (the loss that a refit of the others cannot make up for), fisher "
        "(squared gradients on masks), magnitude, random, or your own module.function, which takes the checkpoint and "
        "the sample and returns a compress.pruning.importance.Importance",
    )
    layers: LayerChoice | None = setting(
        None,
        "layers to keep: a number of evenly spaced ones, or a list such as 0,2,4; heads and ffn are shares "
        "of these; default: all",
    )
    hidden_size: int | None = setting(
        None, "hidden size to cut down to; default: the model's, or less where a latency needs it", gt=0
    )
    rounds: int = setting(
        1, "rounds in which heads and ffn are removed, each followed by its share of the epochs", gt=0, le=100
    )
    vocabulary: bool = setting(
        False, "remove tokens that neither the train texts nor --unlabeled have; the 8,000 most common stay"
    )
    teacher: Annotated[str | None, Names.MODEL] = setting(
        None, "model that guides the recovery; default: MODEL before the cut"
    )
    samples: int = setting(2048, "train texts for measuring importance and for the refit", gt=0)
    epochs: Epochs = setting(
        2,
        "passes over the train split, or a part of one; 0: no training; default: 2, or one a round if there are more, "
        "or 0 where only the vocabulary is cut",
        ge=0,
        le=1000,
    )
    learning_rate: float = setting(5e-5, "peak learning rate of AdamW", gt=0, lt=1)

    @property
    def has_target(self) -> bool:
        """Whether the goal is a latency, and not shares of heads and neurons."""
        return self.target_latency_ms is not None or self.speedup is not None

    @property
    def narrows(self) -> bool:
        """Whether the layers are cut, and not the vocabulary alone."""
        return bool(self.heads or self.ffn or self.layers or self.hidden_size or self.has_target)

    def without_effect(self) -> set[str]:
        """As for any step, but a target latency is measured with ``threads``."""
        return super().without_effect() - ({"threads"} if self.has_target else set())

    @model_validator(mode="after")
    def _epochs_that_suit(self) -> Self:
        """By default two epochs, or one for each round, and none where only the vocabulary is cut."""
        if "epochs" not in self.model_fields_set:
            object.__setattr__(self, "epochs", max(2, self.rounds) if self.narrows else 0)  # frozen from here on
        return self

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if not self.narrows and not self.vocabulary:
            raise ValueError(
                "needs heads or ffn above 0, layers, hidden_size, speedup, target_latency_ms or vocabulary; heads=0.25 "
                "removes a quarter of the attention heads, speedup=2 leaves what takes half the time"
            )
        goals = ("target_latency_ms", "speedup", "heads", "ffn")
        given = [name for name in goals if getattr(self, name)]
        if self.has_target and len(given) > 1:
            raise ValueError(f"takes {given[0]} or {given[1]}, not both; a latency leaves open what is removed for it")
        if self.dry_run and not self.has_target:
            raise ValueError("needs speedup or target_latency_ms for dry_run, which shows what they would leave")
        if not self.has_target and (idle := {"runtime", "batch", "length"} & self.model_fields_set):
            raise ValueError(
                f"takes {min(idle)} with speedup or target_latency_ms alone, which are measured with it; "
                "training has batch_size"
            )
        if self.rounds > 1 and self.rounds > self.epochs:
            raise ValueError(
                f"needs an epoch for each of {self.rounds} rounds, got epochs={self.epochs}; give epochs={self.rounds}"
            )
        if self.rounds > 1 and not (self.heads or self.ffn):
            raise ValueError(f"needs heads or ffn above 0 for {self.rounds} rounds; layers and hidden_size go at once")
        return self
