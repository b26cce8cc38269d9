"""A checkpoint's own settings: those that only change how it is called are undone, those that change answers count."""

from typing import Any

import torch
from torch import nn

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
