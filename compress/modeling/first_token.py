"""The last layer's first token alone: where the head reads no other, the others need not be computed."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from compress.families.view import EncoderView


@contextmanager
def first_token_alone(model: nn.Module, wanted: Collection[str] = ()) -> Iterator[None]:
    """After the last layer's attention, compute only the first token of each text inside the ``with`` block.

    Logits and gradients stay what they are; nine twelfths of that layer's products fall away. Nothing is changed where
    the head reads the mean of all tokens, where layers begin with their norms, or where the last layer's output is
    among the ``wanted`` states.
    """
    view = EncoderView(model)
    last = view.layers[-1]
    with ExitStack() as hooks:
        if not (last.paths.norms_first or view.reads_mean or f"hidden.{len(view.layers) - 1}" in wanted):
            # The residual still has all tokens: its sum with the projection's one is right in the first, and the norm
            # takes no other.
            for module in (last.attention_output, last.attention_norm):
                hooks.enter_context(module.register_forward_pre_hook(_first_alone))
        yield


def _first_alone(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (inputs[0][:, :1], *inputs[1:])
