"""Removes heads, neurons, hidden dimensions and layers from a model's weights; used by pruning and narrow students."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from compress.errors import CompressError
from compress.families.view import EncoderView, LayerView
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import PRUNED_SETTINGS, pruned_classifier, pruned_config, set_heads
from compress.modeling.widths import Cut, Widths


def cut_model(model: nn.Module, cut: Cut) -> PreTrainedModel:
    """A copy of ``model`` cut down to ``cut``; its logits equal those of ``model`` with the same units masked.

    A layer that keeps neurons but no heads, or heads but no neurons, has the missing block's bias in its place. A layer
    that keeps neither is removed: the next layer reads its input. The cut must leave a layer.
    """
    if not cut.layers:
        raise CompressError("a cut must leave a head or a block of neurons in at least one layer, got one without any")
    whole = copy.deepcopy(model).cpu().eval()
    layers = EncoderView(whole).layers
    for index in cut.layers:
        keep_heads(layers[index], torch.tensor(cut.heads[index], dtype=torch.int64))
        keep_neurons(layers[index], torch.tensor(cut.neurons[index], dtype=torch.int64))
    keep_layers(whole, cut.layers)
    return rebuilt(whole)


def choose_layers(layers: int | list[int] | None, available: int, step: str) -> list[int]:
    """The layer numbers that ``layers`` lists, or that many evenly spaced ones of ``available`` (default: half)."""
    if layers is None:
        layers = max(1, available // 2)
    if isinstance(layers, int):
        if layers > available:
            raise CompressError(f"{step}.layers must be at most {available}, the model's layers, got {layers}")
        return [index * available // layers for index in range(layers)]
    if max(layers) >= available or len(set(layers)) < len(layers) or sorted(layers) != layers:
        raise CompressError(
            f"{step}.layers must be rising layer numbers from 0 to {available - 1}, got {','.join(map(str, layers))}"
        )
    return layers


def keep_layers(model: nn.Module, kept: Sequence[int]) -> None:
    """Keep only the layers ``kept`` in ``model`` and in its config."""
    view = EncoderView(model)
    view.stack = nn.ModuleList(view.stack[index] for index in kept)
    view.write(num_hidden_layers=len(kept))
    for name in ("heads_per_layer", "neurons_per_layer", "layer_types"):
        if getattr(view.config, name, None):
            setattr(view.config, name, [getattr(view.config, name)[index] for index in kept])


def spans(layers: Sequence[int], depth: int) -> list[range]:
    """For each of the ``layers`` that stay, its number and those of the removed layers above, whose work it does."""
    return [range(start, end) for start, end in zip(layers, [*layers[1:], depth], strict=True)]


def head_columns(heads: torch.Tensor, head_size: int) -> torch.Tensor:
    """The columns of ``heads`` in the concatenated heads, ``[heads * head_size]``."""
    return (heads[:, None] * head_size + torch.arange(head_size)).flatten()


def keep_heads(layer: LayerView, heads: torch.Tensor) -> None:
    """Keep only the attention heads ``heads`` of ``layer``."""
    columns = head_columns(heads, layer.head_size)
    fused = _in_each(columns, layer.heads * layer.head_size, 3) if layer.paths.fused else columns
    for projection in (*layer.projections, *layer.position_projections):
        _take_outputs(projection, fused)
    _take_inputs(layer.attention_output, columns)
    set_heads(layer, len(heads))


def keep_neurons(layer: LayerView, neurons: torch.Tensor) -> None:
    """Keep only the FFN neurons ``neurons`` of ``layer``."""
    fused = _in_each(neurons, layer.neurons, 2) if layer.paths.fused else neurons
    _take_outputs(layer.ffn_input, fused)
    _take_inputs(layer.ffn_output, neurons)


def keep_hidden(model: nn.Module, hidden: torch.Tensor, pooled: torch.Tensor) -> None:
    """Keep only the hidden dimensions ``hidden``, and the outputs ``pooled`` of the head's first layer.

    The weights that read them are scaled as if the removed dimensions had been like those that stay.
    """
    view = EncoderView(model)
    gain = math.sqrt(view.hidden_size / len(hidden))
    pooler, classifier = view.head
    for _, readers in view.readers:
        for reader in readers:
            _take_inputs(reader, hidden, gain)
    for layer in view.layers:
        for projection in layer.position_projections:
            _take_inputs(projection, hidden, gain)
    relative, relative_norm = view.relative_positions
    for table in (*(view.tables if view.projection is None else []), *filter(None, [relative])):
        table.weight.data = table.weight.data[:, hidden]
    writers: list[nn.Linear | nn.LayerNorm | None] = [*view.embedding_writers, relative_norm, view.final_norm]
    for layer in view.layers:
        writers += [layer.attention_output, layer.ffn_output, *layer.norms]
    for writer in writers:
        _take_outputs(writer, hidden)
    for writer in (pooler, view.head_norm):
        _take_outputs(writer, pooled)
    _take_inputs(classifier, pooled, gain)


def rebuilt(model: nn.Module, *, stock: bool = False) -> PreTrainedModel:
    """A model with the cut weights of ``model`` whose config describes them, so that it saves and reloads.

    The config of ``model`` describes it before the cut, except for removed layers. With ``stock`` the class is the
    family's own where all layers are alike and their heads fill the hidden size.
    """
    view = EncoderView(model)
    family, hidden_size = view.family, view.head[0].weight.shape[1]
    settings = {
        name: value
        for name, value in view.config.to_dict().items()
        if name not in ("model_type", "architectures", *PRUNED_SETTINGS)
    }
    if family.embeddings.projection:
        settings["embedding_size"] = view.words.weight.shape[1]  # embedding_dim is what it was before a cut
    config, classifier, own = _class_of(view, Widths.of(model), hidden_size, stock=stock)
    changed = {"hidden_size": hidden_size, **dict.fromkeys(family.repeats_hidden_size, hidden_size), **own}
    with quiet_transformers():
        cut: PreTrainedModel = classifier(config(**settings | family.renamed(changed)))
    cut.load_state_dict(model.state_dict())
    cut.train(mode=False)
    return cut


def _class_of(view: EncoderView, widths: Widths, hidden_size: int, *, stock: bool) -> tuple[Any, Any, dict[str, Any]]:
    """The classes of config and classifier that can have these ``widths``, and the config's settings for them."""
    family = view.family
    # Transformers leaves a projection out where it would not change the width.
    kept = view.projection is not None and view.projection.in_features == hidden_size
    alike = widths.is_even and hidden_size == widths.heads[0] * view.head_size
    if stock and alike and not kept and not view.begins_with_norm:
        stock_classes = getattr(transformers, family.config), getattr(transformers, family.classifier)
        return *stock_classes, {"num_attention_heads": widths.heads[0]}
    shape = list(widths.heads), list(widths.neurons), view.head_size, kept, view.begins_with_norm
    # Transformers wants a number of heads that divides the hidden size; nothing else reads it here.
    heads = {"num_attention_heads": math.gcd(hidden_size, view.read("num_attention_heads"))}
    return pruned_config(family), pruned_classifier(family), heads | dict(zip(PRUNED_SETTINGS, shape, strict=True))


def _in_each(kept: torch.Tensor, width: int, parts: int) -> torch.Tensor:
    """The columns ``kept`` of each of ``parts`` fused projections, which stand side by side, each ``width`` wide."""
    return (torch.arange(parts)[:, None] * width + kept).flatten()


def _take_outputs(module: nn.Linear | nn.LayerNorm | None, kept: torch.Tensor) -> None:
    if module is None:  # a part that not every family has
        return
    module.weight.data = module.weight.data[kept]
    if module.bias is not None:
        module.bias.data = module.bias.data[kept]


def _take_inputs(linear: nn.Linear, kept: torch.Tensor, gain: float = 1.0) -> None:
    linear.weight.data = linear.weight.data[:, kept] * gain
    linear.in_features = len(kept)
