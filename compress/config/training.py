"""Settings of the training loop, of what a student learns from its teacher, and of finetune and distill."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from compress.config.settings import (
    Effect,
    Epochs,
    LayerChoice,
    LayerNumbers,
    Names,
    OwnFunction,
    Seed,
    Settings,
    ThreadsConfig,
    Weight,
    one_or_more,
    setting,
)
from compress.manifest_entries import LongTextMode, Pooling
from compress.task import Metric

COUNTED_WEIGHTS = ("balanced", "sqrt")  # class weights by the number of texts, all others are files
NOTHING_TO_LEARN = (
    "has nothing to learn from, its weights are all 0; set at least one above 0 of soft_weight, hard_weight, "
    "embedding_weight, hidden_weight, attention_weight and relation_weight"
)


class TrainingConfig(ThreadsConfig):
    """The training loop, shared by finetune, distill and prune."""

    seed: Seed = setting(0, "seed of everything random in the step")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where to compute")
    epochs: Epochs = setting(3, "passes over the train split, or a part of one, such as 0.5", gt=0, le=1000)
    batch_size: int = setting(
        32, "texts in a batch where they have the mean length; all batches have about as many tokens", gt=0
    )
    gradient_accumulation: int = setting(1, "batches in a training step", gt=0)
    learning_rate: float | None = setting(
        None,
        "peak learning rate of AdamW; default: 1.6e-4 for encoders up to 384 wide, 1e-5 from 1,024 on, 3e-5 between",
        gt=0,
        lt=1,
    )
    warmup: float = setting(0.1, "share of the steps over which the rate warms up", ge=0, lt=1)
    weight_decay: float = setting(0.01, "AdamW's decay of weights (not biases, not norms)", ge=0, lt=1)
    max_grad_norm: float = setting(1.0, "gradients are clipped at this norm, after backward", gt=0)
    eval_steps: int | None = setting(
        None, "steps between validations; default: half an epoch, or half of a shorter training", gt=0
    )
    patience: int = setting(6, "stop after this many validations without a better checkpoint", gt=0)
    metric: Metric | None = setting(
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


class LongTextsConfig(Settings):
    """How many tokens are read of a text, and which of a longer one."""

    max_length: int | None = setting(None, "tokens kept of each text; default: the model's own limit", ge=4, le=8192)
    long_texts: LongTextMode | None = setting(
        None,
        "what is read of a text of more than max_length tokens: head, head-tail (a quarter from its head, the rest "
        "from its tail) or windows (all of it); default: the model's own, else head",
    )
    stride: int | None = setting(
        None,
        "tokens that neighbouring windows of a text share; default: the model's own, else a quarter of a window",
        ge=1,
    )
    pooling: Pooling | None = setting(
        None,
        "what answers for all windows of a text: mean or max of each logit, or first; default: the model's own, "
        "else mean",
    )


class FinetuneConfig(LongTextsConfig, TrainingConfig):
    """finetune: train a classifier's head and body."""

    command: ClassVar[str] = "finetune"
    class_weights: Annotated[str | None, Names.FILE] = setting(
        None,
        "what each label's texts weigh in the loss: balanced lets all labels count alike, sqrt takes the square root "
        "of these weights, a JSON file has a weight by label; default: all texts weigh the same",
    )
    focal: float = setting(
        0.0,
        "gamma of the focal loss: a text's loss is multiplied by (1-p)^gamma, p being the probability of its label; "
        "0: plain cross-entropy",
        ge=0,
        le=10,
    )

    def named(self, *kinds: Names) -> dict[str, list[str]]:
        """As for any step, but weights by the number of texts are no file."""
        values = super().named(*kinds)
        if self.class_weights in COUNTED_WEIGHTS:
            values.pop("class_weights", None)
        return values


class DistillationConfig(TrainingConfig):
    """What a student learns from its teacher, shared by distill and prune."""

    freeze_embeddings: bool | None = setting(
        None, "leave the embedding tables as they are; default: yes where they are the teacher's own"
    )
    metric: Metric | None = setting(
        None,
        "what decides the best checkpoint; f1 is of the second of two labels; default: the divergence from the "
        "teacher's answers, or, where these are not learned, the metric that the training before reported",
    )
    temperature: float = setting(2.0, "softens teacher and student logits", gt=0, le=100)
    soft_weight: Weight = setting(0.9, "weight of the teacher's soft labels")
    hard_weight: Weight = setting(0.1, "weight of the data's hard labels")
    embedding_weight: Weight = setting(0.0, "weight of the loss on the embeddings' output (MSE)")
    hidden_weight: Weight = setting(0.0, "weight of the hidden-state loss (MSE), layer by layer")
    attention_weight: Weight = setting(0.0, "weight of the attention-score loss, layer by layer")
    relation_weight: Weight = setting(
        0.0, "weight of the loss on query, key and value relations of one layer (MiniLMv2)"
    )
    layer_map: LayerNumbers | None = setting(
        None,
        "for each student layer the teacher layer that it imitates, such as 1,3,5; default: evenly spaced, "
        "the last imitates the last",
    )
    relation_layer: int | None = setting(
        None, "teacher layer whose relations the student's last layer takes; default: the last", ge=0
    )
    loss: Annotated[OwnFunction | None, Names.FUNCTION] = setting(
        None,
        "a loss of your own, module.function: takes the student's states, the teacher's and the batch, gives a scalar",
    )
    loss_weight: Weight = setting(1.0, "weight of that loss")
    unlabeled: Annotated[str | None, Names.FILE] = setting(
        None, "more texts for the teacher to label: JSONL, Parquet, or one text a line"
    )
    unlabeled_text: Annotated[list[str], Names.COLUMN, BeforeValidator(one_or_more)] = setting(
        [], "column of those texts; default: that of the data", max_length=2
    )
    augment: int = setting(0, "altered copies of each train text for the teacher to label", ge=0, le=100)
    teacher_cache: Annotated[str | None, Names.FOLDER, Effect.NONE] = setting(
        None, "folder of the teacher's answers; default: $COMPRESS_CACHE, or compress in the user's cache"
    )
    cache_gb: Annotated[float, Effect.NONE] = setting(
        4.0, "most GB of hidden states to cache; if they take more, each batch is computed anew", ge=0
    )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss term, by the term's name; terms of weight 0 are not computed."""
        return {
            "soft": self.soft_weight,
            "hard": self.hard_weight,
            "embedding": self.embedding_weight,
            "hidden": self.hidden_weight,
            "attention": self.attention_weight,
            "relation": self.relation_weight,
            "custom": self.loss_weight if self.loss is not None else 0.0,
        }


class DistillConfig(LongTextsConfig, DistillationConfig):
    """distill: train a student on the teacher's soft labels and the data's hard labels."""

    command: ClassVar[str] = "distill"
    max_length: int | None = setting(
        None,
        "tokens kept of each text, by a teacher with the student's tokenizer too; default, and most: the student's own "
        "limit, or such a teacher's where that is lower",
        ge=4,
        le=8192,
    )
    layers: LayerChoice | None = setting(
        None, "teacher layers to keep: a number of evenly spaced ones (default: half), or a list such as 0,2,4"
    )
    hidden_size: int | None = setting(None, "the student's hidden size; default: the teacher's", gt=0)
    ffn_size: int | None = setting(None, "FFN neurons of each student layer; default: the teacher's", gt=0)
    heads: int | None = setting(None, "attention heads of each student layer; default: the teacher's", gt=0)
    student: Annotated[str | None, Names.MODEL] = setting(
        None,
        "start from this checkpoint instead of the teacher's layers; it may be of another family and have another "
        "tokenizer where only logits are compared",
    )
    teacher_answers: Annotated[str | None, Names.FILE] = setting(
        None,
        "file of answers made elsewhere, for the teacher's logits: a text, whose column unlabeled_text names, and a "
        "label, a list of labels or probabilities in each row",
    )
    epochs: Epochs = setting(5, "passes over the train split, or a part of one, such as 0.5", gt=0, le=1000)
    learning_rate: float = setting(1e-4, "peak learning rate of AdamW", gt=0, lt=1)

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError(NOTHING_TO_LEARN)
        shaped = [name for name in ("layers", "hidden_size", "ffn_size", "heads") if getattr(self, name) is not None]
        if shaped and self.student is not None:
            raise ValueError(
                f"takes {shaped[0]} or student, not both; {shaped[0]} shapes a copy of the teacher, "
                "student names a checkpoint"
            )
        if self.teacher_answers is not None and self.augment:
            raise ValueError(
                "takes augment or teacher_answers, not both; altered copies of texts are labelled by a teacher, "
                "and the file has no answers to them"
            )
        if self.teacher_answers is not None and not self.soft_weight and self.loss is None:
            raise ValueError("takes teacher_answers only with a soft_weight above 0 or a loss: nothing else reads them")
        return self
