"""A checkpoint's own settings: those that only change how it is called are undone, those that change answers count."""

import unicodedata
from typing import Any

import torch
from torch import nn

from compress.data.dataset import some
from compress.data.labels import BREAKS
from compress.errors import CompressError
from compress.families.view import EncoderView


def make_plain(config: Any) -> None:
    """Undo settings that change what a call returns or refuse some lengths, but no answer."""
    config.return_dict = True
    config.output_attentions = config.output_hidden_states = False
    config.chunk_size_feed_forward = 0


def give_second_segment(view: EncoderView) -> None:
    """A table of one segment gets a second row, equal to the first: so the model reads a pair as without segments."""
    path = view.paths.segments
    if path is None or "token_type_ids" not in view.family.inputs:
        return
    row: torch.Tensor = view.module.get_submodule(path).weight.detach()  # type: ignore[operator]
    if len(row) == 1:
        view.module.set_submodule(path, nn.Embedding.from_pretrained(row.repeat(2, 1), freeze=False))
        view.write(type_vocab_size=2)


def labels_of(config: Any, source: str) -> tuple[str, ...]:
    """Label names in the order of the logits; the placeholders LABEL_0, LABEL_1 stand for the data's 0, 1.

    Raises:
        CompressError: the config does not name each logit once, or names it in two ways.
    """
    names: dict[int, Any] = config.id2label
    if sorted(names) != list(range(len(names))):
        numbers = some([str(number) for number in sorted(names)])
        raise CompressError(
            f"{source}: config.json's id2label names the logits {numbers}, but they are numbered from 0 "
            f"to {len(names) - 1}; correct id2label and label2id there"
        )
    labels = tuple(_on_one_line(names[index]) for index in range(len(names)))
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise CompressError(f"{source}: config.json's id2label has {twice!r} twice; give each logit a name of its own")
    for name, index in (config.label2id or {}).items():
        if (label := _on_one_line(name)) in labels and str(index).removesuffix(".0") != str(labels.index(label)):
            raise CompressError(
                f"{source}: config.json's id2label and label2id disagree, the latter says that {name!r} is {index}; "
                "correct the wrong one"
            )
    if all(label == f"LABEL_{index}" for index, label in enumerate(labels)):
        return tuple(map(str, range(len(labels))))
    return labels


def _on_one_line(name: Any) -> str:
    """A label as it is read in data too: line breaks and tabs are blanks, and equal names are spelled in one way."""
    label = unicodedata.normalize("NFC", BREAKS.sub(" ", str(name))).strip()
    return label.lower() if label.lower() in {"true", "false"} else label
