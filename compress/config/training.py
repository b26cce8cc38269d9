"""Settings of the training loop, and of finetune."""

from typing import Annotated, ClassVar, Literal

from compress.config.settings import Effect, Settings, setting


class ThreadsConfig(Settings):
    """For steps that compute on the CPU in this process."""

    threads: Annotated[int | None, Effect.NONE] = setting(
        None, "CPU threads; default: all that this process may use", gt=0
    )


class TrainingConfig(ThreadsConfig):
    """The training loop, shared by finetune, distill and prune."""

    seed: int = setting(0, "seed of everything random in the step", ge=0, le=2**31 - 1)
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where to compute")
    epochs: int = setting(3, "passes over the train split", gt=0, le=1000)
    batch_size: int = setting(
        32, "texts in a batch where they have the mean length; all batches have about as many tokens", gt=0
    )
    gradient_accumulation: int = setting(1, "batches in a training step", gt=0)
    learning_rate: float = setting(3e-5, "peak learning rate of AdamW", gt=0, lt=1)
    warmup: float = setting(0.1, "share of the steps over which the rate warms up", ge=0, lt=1)
    weight_decay: float = setting(0.01, "AdamW's decay of weights (not biases, not norms)", ge=0, lt=1)
    max_grad_norm: float = setting(1.0, "gradients are clipped at this norm, after backward", gt=0)
    eval_steps: int | None = setting(None, "steps between validations; default: half an epoch", gt=0)
    patience: int = setting(6, "stop after this many validations without a better metric", gt=0)
    metric: Literal["accuracy", "macro_f1", "f1"] | None = setting(
        None,
        "what decides the best checkpoint; f1 is of the second of two labels; default: accuracy, or "
        "macro_f1 for multi-label",
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "arithmetic of forward and backward; auto: bf16 where the hardware has it"
    )
    freeze_embeddings: bool | None = setting(False, "leave the embedding tables as they are (faster)")
    checkpoint_seconds: Annotated[float, Effect.NONE] = setting(
        60.0, "seconds between checkpoints, from which a killed step goes on", ge=0
    )
    track: Annotated[Literal["tensorboard", "wandb", "mlflow", "trackio"] | None, Effect.NONE] = setting(
        None, "send losses and metrics to this tracker too; metrics.jsonl is always written"
    )


class FinetuneConfig(TrainingConfig):
    """finetune: train a classifier's head and body."""

    command: ClassVar[str] = "finetune"
    max_length: int | None = setting(None, "tokens kept of each text; default: the model's own limit", ge=4, le=8192)
