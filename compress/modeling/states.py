"""Hooks that record what a forward pass computes beside its logits, or spare it work; the model stays as it is."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from compress.errors import CompressError
from compress.families.view import EncoderView

LOGITS = "logits"

Batch = dict[str, torch.Tensor]
"""The model's inputs ``[batch, length]``; ``targets``; ``labelled``, bool ``[batch]``: whether a text has a label;
and the teacher's states, if there is a teacher, each under ``teacher.`` and its name."""

States = dict[str, torch.Tensor]
"""Tensors of a forward pass, by name. ``logits`` ``[batch, labels]``; ``embeddings`` ``[batch, length, hidden]``, the
embeddings' output; ``hidden.3`` ``[batch, length, hidden]``, the output of layer 3, counted from 0; ``query.3``,
``key.3``, ``value.3`` ``[batch, length, heads * head size]`` inside that layer."""

_LAYER_STATES = ("hidden", "query", "key", "value")


@contextmanager
def recording(model: nn.Module, wanted: Iterable[str]) -> Iterator[States]:
    """Record the logits and the ``wanted`` states of each forward pass made inside the ``with`` block.

    The states are the tensors that the pass computed, in its precision and part of its graph; the next pass replaces
    them. Of a module that a pass calls twice the first output is recorded: a DeBERTa's query also projects relative
    positions.
    """
    states: States = {}
    with ExitStack() as hooks:
        hooks.enter_context(model.register_forward_pre_hook(lambda *_: states.clear()))
        for name, module in state_modules(model, {LOGITS, *wanted}, "model").items():
            hooks.enter_context(module.register_forward_hook(_keep(states, name)))
        yield states


def state_modules(model: nn.Module, names: Iterable[str], whose: str) -> dict[str, nn.Module]:
    """The module whose output is each state, by the state's name; ``whose`` names the model in errors."""
    view = EncoderView(model)
    return {name: _module(view, name, whose) for name in names}


def _module(view: EncoderView, name: str, whose: str) -> nn.Module:
    outside: dict[str, nn.Module] = {LOGITS: view.head[-1], "embeddings": view.embeddings}
    if name in outside:
        return outside[name]
    kind, _, number = name.partition(".")
    if kind not in _LAYER_STATES or not number.isdecimal():
        raise CompressError(
            f"{name!r} is no state of a {view.family.name}; there are logits, embeddings, and "
            f"{', '.join(_LAYER_STATES)} of each layer, such as hidden.0"
        )
    layers = view.layers
    if int(number) >= len(layers):
        raise CompressError(f"{name}: the {whose} has layers 0 to {len(layers) - 1}, got {number}")
    layer = layers[int(number)]
    if kind == "hidden":
        return layer.module
    if not layer.heads:
        raise CompressError(
            f"{name}: layer {number} of the {whose} has no attention heads left to compare; set attention_weight and "
            "relation_weight to 0, or take a model with heads in that layer"
        )
    if layer.paths.fused:
        raise CompressError(
            f"{name}: a {view.family.name} computes query, key and value together, which are not compared; set "
            "attention_weight and relation_weight to 0, hidden_weight compares its layers"
        )
    projection: nn.Module = getattr(layer, kind)
    return projection


def _keep(states: States, name: str) -> Any:
    def hook(_module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        states.setdefault(name, output[0] if isinstance(output, tuple) else output)

    return hook


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
            # The residual still has all tokens: its sum with the projection of the first token is right for that token
            # alone, and the norm is given no other.
            for module in (last.attention_output, last.attention_norm):
                hooks.enter_context(module.register_forward_pre_hook(_first_alone))
        yield


def _first_alone(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (inputs[0][:, :1], *inputs[1:])
