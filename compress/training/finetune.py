"""finetune: train a classifier's head and body on the data's labels."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from compress.config import FinetuneConfig
from compress.data import Dataset, Split
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import LOGITS, Batch, States
from compress.progress import say
from compress.training.batches import Encodings, Examples, Targets
from compress.training.imbalance import class_weights
from compress.training.long_texts import with_long_texts
from compress.training.loop import train
from compress.training.optimization import Losses, hard_labels
from compress.training.run_files import RunFiles
from compress.training.validator import TrainingResult


def finetune(
    start: Checkpoint, data: Dataset, config: FinetuneConfig, run_files: RunFiles
) -> tuple[Checkpoint, TrainingResult]:
    """Train ``start`` in place on the train split; the weights that do best on the validation split are kept."""
    model = with_long_texts(start, config)
    encoded = EncodedSplits.of(model, data)
    _warn_about_cut_texts(encoded.train, model)
    targets = data.train.targets(model.labels, model.task)  # of whole texts: a long one may be several examples
    choice = config.class_weights
    weights = torch.from_numpy(class_weights(choice, targets, model.labels)) if choice else None
    if weights is not None:  # the settings name only the file with the weights
        run_files = replace(run_files, inputs=hashlib.sha256(weights.numpy().tobytes()).hexdigest())
    start_from_the_prior(model, targets, weights)
    objective = HardLabels(weights, config.focal)
    return model, train(model, encoded.train, encoded.validation, objective, config, run_files)


class HardLabels:
    """The objective of fine-tuning: the data's labels alone; see :func:`hard_labels` for weights and gamma."""

    wanted: frozenset[str] = frozenset()
    by_text: bool = True

    def __init__(self, weights: torch.Tensor | None = None, gamma: float = 0.0) -> None:
        self._weights, self._gamma = weights, gamma

    def __call__(self, states: States, batch: Batch) -> Losses:
        """Cross-entropy of the logits, under ``loss``."""
        logits = states[LOGITS]
        weights = None if self._weights is None else self._weights.to(logits.device)
        return {"loss": hard_labels(logits, batch["targets"], weights, self._gamma)}


@dataclass(frozen=True)
class EncodedSplits:
    """The train and validation split as a model reads them; the model may be trained or cut meanwhile.

    Each window of a train text is an example with the text's labels (Dai and Callan 2019): a batch is then no larger
    than without windows, and a teacher answers each window. Validation judges whole texts, as an app answers them.
    """

    train: Examples
    validation: Examples

    @classmethod
    def of(cls, model: Checkpoint, data: Dataset) -> "EncodedSplits":
        """The splits of ``data``, each tokenized once."""
        return cls(encode_to_train(model, data.train), encode(model, data.validation))


def encode(model: Checkpoint, split: Split) -> Examples:
    """A split's texts as token ids and its labels as targets, with columns in the order of the model's labels."""
    return Examples(Encodings.pack(model.encoder(split.texts)), split.targets(model.labels, model.task))


def encode_to_train(model: Checkpoint, split: Split) -> Examples:
    """As :func:`encode`, for texts to learn from: each window of a text is an example with the text's labels."""
    encodings = model.training_encoder(split.texts)
    of_text = np.repeat(np.arange(len(encodings)), [len(encoding.rows) for encoding in encodings])
    return Examples(Encodings.pack_rows(encodings), split.targets(model.labels, model.task)[of_text])


@torch.no_grad()
def start_from_the_prior(model: Checkpoint, targets: Targets, weights: torch.Tensor | None = None) -> None:
    """Let a fresh multi-label head begin with each label's share of the texts, and not with a half (Lin et al. 2017).

    Rare labels else spend the first epoch on learning that they are rare: on GoEmotions that held up all 28 of them.
    ``targets`` are the train texts'. With label ``weights``, ``[labels]``, the head begins with the weighted shares,
    which have the least loss.
    """
    bias = EncoderView(model.model).head[-1].bias
    if targets.ndim == 2 and not bias.any():
        present = torch.from_numpy(targets).sum(dim=0)
        prior = torch.logit((present + 1) / (len(targets) + 2))
        bias.copy_(prior if weights is None else prior + weights.log())


def _warn_about_cut_texts(examples: Examples, model: Checkpoint) -> None:
    cut = float((examples.encodings.lengths == model.max_length).mean())
    if cut >= 0.01 and model.long_texts.mode != "windows":
        lost = "the middle of longer ones" if model.long_texts.mode == "head-tail" else "what comes after"
        say(f"finetune: {cut:.0%} of the train texts reach {model.max_length} tokens; {lost} is not read")
