"""A classifier with all that must travel with it: tokenizer, labels, task, length. Loads and saves it.

The one place that knows how Hugging Face names and stores things.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from compress.demo_assets import model_source
from compress.errors import CompressError
from compress.families import family_of
from compress.families.family import Family
from compress.families.tokenizers.wordpiece import kind
from compress.families.view import EncoderView
from compress.folder import MANIFEST, Manifest, read_manifest, write_manifest
from compress.runtime.encoding import TextEncoder
from compress.task import is_multi_label

_LOADING_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError),
    SafetensorError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A classifier in memory."""

    model: PreTrainedModel  # its logits are [batch, len(labels)]
    tokenizer: PreTrainedTokenizerFast
    task: str  # single_label, multi_label, or pair_single_label, pair_multi_label
    labels: tuple[str, ...]  # in the order of the logits; empty where the checkpoint is a bare encoder
    max_length: int  # tokens kept of a text
    history: tuple[dict[str, Any], ...] = ()  # the steps so far, oldest first
    digest: str | None = None  # of the folder that it came from; None where that had no manifest
    source: str = ""  # the folder or hub id that it came from

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.model.parameters())

    @cached_property
    def encoder(self) -> TextEncoder:
        """Texts to token ids, as this model wants them."""
        return TextEncoder(self.tokenizer.backend_tokenizer, self.max_length)

    def manifest(self, kind: Literal["torch", "onnx"]) -> Manifest:
        """What a folder that holds this model says of it."""
        return Manifest(kind, self.task, self.labels, self.max_length, self.parameters, self.history)

    def with_model(self, model: PreTrainedModel) -> "Checkpoint":
        """The same checkpoint around another network."""
        return replace(self, model=model)


def load_classifier(source: str, *, pairs: bool = False) -> Checkpoint:
    """A fine-tuned classifier from a folder of ours, a plain Hugging Face folder or a hub id.

    ``pairs`` says whether it reads pairs of texts where the model is not ours and does not say so itself.
    """
    checkpoint = _load(source)
    if not checkpoint.labels:
        raise CompressError(f"{source}: has no classification head; train one first with 'compress finetune {source}'")
    if checkpoint.digest is None and pairs:
        return replace(checkpoint, task=f"pair_{checkpoint.task}")
    return checkpoint


def load_for_finetuning(source: str, task: str, labels: tuple[str, ...], seed: int) -> Checkpoint:
    """A checkpoint or bare encoder with a head for ``labels``: its own where it has one, else a fresh one."""
    torch.manual_seed(seed)
    checkpoint = _load(source)
    if set(checkpoint.labels) == set(labels):
        return checkpoint if checkpoint.task == task else replace(checkpoint, task=task)
    EncoderView(checkpoint.model).replace_classifier(len(labels))
    return replace(checkpoint, task=task, labels=labels)


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Manifest:
    """Write the model in Hugging Face layout, with safetensors, ``vocab.txt`` and the manifest last."""
    set_label_config(checkpoint.model.config, checkpoint)
    with quiet_transformers():
        checkpoint.model.save_pretrained(folder)
    save_tokenizer(checkpoint, folder)
    return write_manifest(folder, checkpoint.manifest("torch"))


def save_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    """The tokenizer's files, with the ``vocab.txt`` that C#, Java and mobile clients read of WordPiece."""
    checkpoint.tokenizer.model_max_length = checkpoint.max_length
    checkpoint.tokenizer.backend_tokenizer.no_padding()
    checkpoint.tokenizer.backend_tokenizer.no_truncation()  # else the file would carry our own limits
    checkpoint.tokenizer.save_pretrained(folder)
    if kind(checkpoint.tokenizer) != "WordPiece":
        return
    by_id = sorted(checkpoint.tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in by_id), encoding="utf-8")


def set_label_config(config: Any, checkpoint: Checkpoint) -> None:
    """Write task and label names into a Hugging Face config, where every client looks for them."""
    config.id2label = dict(enumerate(checkpoint.labels))
    config.label2id = {label: index for index, label in enumerate(checkpoint.labels)}
    multi = is_multi_label(checkpoint.task)
    config.problem_type = "multi_label_classification" if multi else "single_label_classification"


def _load(name: str) -> Checkpoint:
    source = model_source(name)
    manifest = _manifest(source)
    with quiet_transformers(), _one_line(source):
        config = AutoConfig.from_pretrained(source)
        if config.problem_type == "regression":
            raise CompressError(f"{source}: is a regression model; compress works on classifiers")
        family = family_of(config, source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            source, output_loading_info=True, dtype=torch.float32
        )
    *_, classifier = family.head
    has_head = not {f"{classifier.path}.weight", f"{classifier.path}.bias"} <= set(loading["missing_keys"])
    _check_weights(source, loading, family, has_head)
    limit = min(tokenizer.model_max_length, EncoderView(model).longest)
    return Checkpoint(
        model=model.eval(),
        tokenizer=tokenizer,  # type: ignore[arg-type]  # none of our families has the slow kind
        task=manifest.task if manifest else _task(config),
        labels=manifest.labels if manifest else _labels(config) if has_head else (),
        max_length=manifest.max_length if manifest else limit,
        history=manifest.history if manifest else (),
        digest=manifest.digest if manifest else None,
        source=name,
    )


def _manifest(source: str) -> Manifest | None:
    path = Path(source)
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path)
        if manifest.kind != "torch":
            raise CompressError(
                f"{source}: holds an ONNX model; this step needs the torch folder that it was exported from"
            )
        return manifest
    if path.is_dir() and not (path / "config.json").is_file():
        raise CompressError(
            f"{source}: not a model folder, it has neither {MANIFEST} nor config.json; give one that has"
        )
    local = (
        path.is_absolute()
        or source.startswith(".")
        or source.count("/") > 1
        or ("/" in source and path.parent.is_dir())
    )
    if local and not path.exists():
        raise CompressError(
            f"{source}: no such folder; give a model folder or a hub id such as google-bert/bert-base-uncased"
        )
    if path.is_file():
        raise CompressError(f"{source}: is a file; give the folder that holds it")
    return None


def _check_weights(source: str, loading: dict[str, Any], family: Family, has_head: bool) -> None:
    """Transformers fills missing weights with random ones and goes on; only those of a new head may be missing."""
    may_lack = () if has_head else tuple(f"{dense.path}." for dense in family.head)
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith(may_lack))
    if missing:
        raise CompressError(f"{source}: {len(missing)} weights are missing, {missing[0]} for one; get the model again")


def _labels(config: Any) -> tuple[str, ...]:
    """Label names; the placeholders LABEL_0, LABEL_1 that transformers makes up stand for the data's 0, 1."""
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    if all(name == f"LABEL_{index}" for index, name in enumerate(names)):
        return tuple(map(str, range(len(names))))
    return tuple(names)


def _task(config: Any) -> str:
    """A lone label, such as a reranker's, is or is not there: a softmax would be sure of it whatever the text."""
    several = config.problem_type == "multi_label_classification" or config.num_labels == 1
    return "multi_label" if several else "single_label"


@contextmanager
def _one_line(source: str) -> Iterator[None]:
    """Turn the many ways in which a checkpoint fails to load into one line."""
    try:
        yield
    except _LOADING_ERRORS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CompressError(
            f"{source}: cannot be loaded as a classifier ({reason}); check the name, or get the model again"
        ) from None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the progress bars and load reports of transformers: ours say what matters."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # a layer pruned away whole
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
