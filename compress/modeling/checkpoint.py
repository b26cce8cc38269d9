"""A classifier with all that must travel with it: tokenizer, labels, task, length; how it is loaded and saved.

``reading.py`` checks what transformers reads; here it becomes a checkpoint, and a folder in Hugging Face layout.
"""

import json
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from compress.data.labels import indicator_name
from compress.demo_assets import model_source
from compress.errors import CompressError
from compress.families.tokenizers.vocabulary import normalizer_settings, vocabulary_lines
from compress.families.view import EncoderView
from compress.folder import MANIFEST, Manifest, refuse_unlisted, write_manifest
from compress.modeling.intact import check_room, check_tokenizer
from compress.modeling.label_names import labels_of, task_of
from compress.modeling.reading import one_line, read_config, read_network, read_tokenizer
from compress.paths import may_be_hub_id
from compress.progress import say_before_work
from compress.replacement import between_renames, open_whole
from compress.runtime.encoding import TextEncoder
from compress.runtime.long_texts import HEAD, LongTexts
from compress.task import is_multi_label


@dataclass(frozen=True)
class Checkpoint:
    """A classifier in memory."""

    model: PreTrainedModel  # its logits are [batch, len(labels)]
    tokenizer: PreTrainedTokenizerFast
    task: str  # single_label, multi_label, or pair_single_label, pair_multi_label
    labels: tuple[str, ...]  # in the order of the logits; empty where the checkpoint is a bare encoder
    max_length: int  # tokens kept of a text, or of each of its windows
    history: tuple[dict[str, Any], ...] = ()  # the steps so far, oldest first
    digest: str | None = None  # of the folder that it came from; None where the folder had no manifest
    source: str = ""  # the folder or hub id that it came from
    long_texts: LongTexts = HEAD
    head: str = ""  # for finetuning: whether the head is the checkpoint's or new, in words

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.model.parameters())

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder from texts to token ids, as this model reads them."""
        tokenizer = self.tokenizer
        return TextEncoder(tokenizer.backend_tokenizer, self.max_length, tokenizer.truncation_side, self.long_texts)

    @cached_property
    def training_encoder(self) -> TextEncoder:
        """The encoder of texts to learn from: it gives all windows of a text, also where only the first will answer."""
        reads = self.long_texts.to_train()
        return self.encoder if reads == self.long_texts else replace(self, long_texts=reads).encoder

    def manifest(self, kind: Literal["torch", "onnx"]) -> Manifest:
        """The manifest of a folder that holds this model."""
        shape = self.task, self.labels, self.max_length, self.parameters
        return Manifest(kind, *shape, self.history, long_texts=self.long_texts.entry)

    def with_model(self, model: PreTrainedModel) -> "Checkpoint":
        """The same checkpoint around another network."""
        return replace(self, model=model)


def load_classifier(source: str, *, pairs: bool = False, labels: Collection[str] = ()) -> Checkpoint:
    """Load a fine-tuned classifier from a folder of ours, a plain Hugging Face folder or a hub id.

    What a model of others does not say itself is taken from the data: ``pairs``, whether it reads pairs of texts,
    and ``labels`` where both are numbered (in multi-label tasks ``label_0`` of the model may be ``0`` in the data).
    """
    checkpoint = load_model(source, pairs=pairs, labels=labels)
    if not checkpoint.labels:
        raise CompressError(f"{source}: has no classification head; train one first with 'compress finetune {source}'")
    return checkpoint


def load_model(source: str, *, pairs: bool = False, labels: Collection[str] = ()) -> Checkpoint:
    """As :func:`load_classifier`, but a bare encoder, without labels, is allowed."""
    checkpoint = _load(source)
    if checkpoint.digest is not None:
        return checkpoint
    own, numbers = checkpoint.labels, tuple(map(str, range(len(checkpoint.labels))))
    numbered = set(labels) == {*numbers} and own == tuple(map(indicator_name, range(len(own))))
    task = f"pair_{checkpoint.task}" if pairs else checkpoint.task
    return replace(checkpoint, task=task, labels=numbers if numbered else own)


def load_for_finetuning(source: str, task: str, labels: tuple[str, ...], seed: int) -> Checkpoint:
    """Load a classifier or bare encoder with a head for ``labels``: its own where that fits, else a fresh one."""
    torch.manual_seed(seed)
    checkpoint = load_model(source, labels=labels)
    own, kept = checkpoint.labels, set(checkpoint.labels) == set(labels)
    if kept:
        head = f"kept, for {len(own)} labels"
    else:
        before = f"the checkpoint's was for {len(own)}{' others' if len(own) == len(labels) else ''}"
        head = f"new, for {len(labels)} labels ({before if own else 'the checkpoint had none'})"
        EncoderView(checkpoint.model).replace_classifier(len(labels))
    say_before_work(f"head: {head}")
    return replace(checkpoint, task=task, labels=own if kept else labels, head=head)


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Manifest:
    """Write the model in Hugging Face layout, with safetensors, the tokenizer and the manifest last."""
    set_label_config(checkpoint.model.config, checkpoint)
    with quiet_transformers():
        checkpoint.model.save_pretrained(folder)
    save_tokenizer(checkpoint, folder)
    return write_manifest(folder, checkpoint.manifest("torch"))


def save_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the tokenizer's files; for WordPiece also the ``vocab.txt`` that C#, Java and mobile clients read.

    All our readers read ``tokenizer.json``; what the other files repeat of it agrees with it.
    """
    tokenizer, backend = checkpoint.tokenizer, checkpoint.tokenizer.backend_tokenizer
    tokenizer.model_max_length = checkpoint.max_length
    backend.no_padding()
    backend.no_truncation()  # else the file would carry our own limits
    if tokenizer.truncation_side == "left":  # tokenizer.json can say so only with a limit
        backend.enable_truncation(checkpoint.max_length, direction="left")
    tokenizer.init_kwargs |= {"truncation_side": tokenizer.truncation_side, **normalizer_settings(backend)}
    tokenizer.save_pretrained(folder)
    _name_as_before(folder / "tokenizer_config.json")
    if (lines := vocabulary_lines(backend)) is not None:
        (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _name_as_before(path: Path) -> None:
    """Undo transformers 5's new names in a tokenizer's settings: 5 reads both, 4, which optimum needs, only the old."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(settings.get("extra_special_tokens"), list):
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    content = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{content}\n", encoding="utf-8")


def set_label_config(config: Any, checkpoint: Checkpoint) -> None:
    """Write task and label names into a Hugging Face config, where every client looks for them."""
    config.id2label = dict(enumerate(checkpoint.labels))
    config.label2id = {label: index for index, label in enumerate(checkpoint.labels)}
    multi = is_multi_label(checkpoint.task)
    config.problem_type = "multi_label_classification" if multi else "single_label_classification"


def _load(name: str) -> Checkpoint:
    source = model_source(name)
    if (Path(source) / MANIFEST).is_file() or between_renames(Path(source)):
        return open_whole(Path(source), lambda manifest: _read(name, source, manifest))
    if not Path(source).exists() and not may_be_hub_id(source):
        raise CompressError(
            f"{source}: no such folder; give a model folder or a hub id such as google-bert/bert-base-uncased"
        )
    if Path(source).is_file():
        raise CompressError(f"{source}: is a file; give the folder that holds it")
    return _read(name, source, None)


def _read(name: str, source: str, manifest: Manifest | None) -> Checkpoint:
    if manifest:
        _check_ours(Path(source), manifest)
    with quiet_transformers():
        config, tokenizer = read_config(source), read_tokenizer(source)
        model, has_head = read_network(source, config)
    view = EncoderView(model)
    with one_line(source, "its tokenizer"):
        check_tokenizer(source, tokenizer, view.words.num_embeddings)
        max_length = manifest.max_length if manifest else min(tokenizer.model_max_length, view.longest)
        check_room(source, tokenizer, max_length)
    return Checkpoint(
        model=model.eval(),
        tokenizer=tokenizer,
        task=manifest.task if manifest else task_of(config),
        labels=manifest.labels if manifest else labels_of(config, source) if has_head else (),
        max_length=max_length,
        history=manifest.history if manifest else (),
        digest=manifest.digest if manifest else None,
        source=name,
        long_texts=LongTexts.of(manifest) if manifest else HEAD,
    )


def _check_ours(folder: Path, manifest: Manifest) -> None:
    if manifest.kind != "torch":
        raise CompressError(
            f"{folder}: holds an ONNX model; this step needs the torch folder that it was exported from"
        )
    refuse_unlisted(folder, manifest)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and load reports of transformers: our messages say what matters."""
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
