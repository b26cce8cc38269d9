"""Settings of the training loop, and of finetune."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compress.config.settings import Effect, Settings


class ThreadsConfig(Settings):
    """For steps that compute on the CPU in this process."""

    threads: Annotated[int | None, Effect.NONE] = Field(
        default=None, gt=0, description="CPU threads; default: all that this process may use"
    )


class TrainingConfig(ThreadsConfig):
    """The training loop, shared by finetune, distill and prune."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of everything random in the step")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where to compute")
    epochs: int = Field(default=3, gt=0, le=1000, description="passes over the train split")
    batch_size: int = Field(
        default=32, gt=0, description="texts in a batch of texts of mean length; all batches hold about as many tokens"
    )
    gradient_accumulation: int = Field(default=1, gt=0, description="batches in a training step")
    learning_rate: float = Field(default=3e-5, gt=0, lt=1, description="peak learning rate of AdamW")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the rate warms up")
    weight_decay: float = Field(
        default=0.01, ge=0, lt=1, description="AdamW's decay of weights (not biases, not norms)"
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are clipped at this norm, after backward")
    eval_steps: int | None = Field(
        default=None, gt=0, description="validate every so many steps; default: twice an epoch"
    )
    patience: int = Field(default=6, gt=0, description="stop after so many validations without a better metric")
    metric: Literal["accuracy", "macro_f1", "f1"] | None = Field(
        default=None,
        description="what decides the best checkpoint; f1 is of the second of two labels; default: accuracy, or "
        "macro_f1 for multi-label",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="arithmetic of forward and backward; auto: bf16 where the hardware has it"
    )
    freeze_embeddings: bool | None = Field(default=False, description="leave the embedding tables as they are (faster)")
    checkpoint_seconds: Annotated[float, Effect.NONE] = Field(
        default=60.0, ge=0, description="seconds of training between checkpoints, from which a killed step goes on"
    )
    track: Annotated[Literal["tensorboard", "wandb", "mlflow", "trackio"] | None, Effect.NONE] = Field(
        default=None, description="send losses and metrics to this tracker too; metrics.jsonl is always written"
    )


class FinetuneConfig(TrainingConfig):
    """finetune: train a classifier's head and body."""

    command: ClassVar[str] = "finetune"
    max_length: int | None = Field(
        default=None, ge=4, le=8192, description="tokens kept of each text; default: the model's own limit"
    )
