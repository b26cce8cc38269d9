"""Takes heads, neurons, hidden dimensions and layers out of a model's weights; used by pruning and narrow students."""

import copy
import math

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from compress.errors import CompressError
from compress.families.view import EncoderView, LayerView
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.layers import keep_layers
from compress.modeling.pruned import PRUNED_SETTINGS, pruned_classifier, pruned_config, set_heads
from compress.modeling.widths import Cut, Widths


def cut_model(model: nn.Module, cut: Cut) -> PreTrainedModel:
    """A new model without what ``cut`` leaves out; its logits equal those of ``model`` with the same units masked.

    A layer that keeps neurons but no heads, or heads but no neurons, has the missing block's bias in its place. A layer
    that keeps neither is removed: the next one reads what it read.

    Raises:
        CompressError: the cut leaves no layer.
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


def head_columns(heads: torch.Tensor, head_size: int) -> torch.Tensor:
    """The columns that ``heads`` take of the width of all heads together."""
    return (heads[:, None] * head_size + torch.arange(head_size)).flatten()


def keep_heads(layer: LayerView, heads: torch.Tensor) -> None:
    """Remove all other attention heads."""
    columns = head_columns(heads, layer.head_size)
    for projection in layer.projections:
        _take_outputs(projection, columns)
    _take_inputs(layer.attention_output, columns)
    set_heads(layer, len(heads))


def keep_neurons(layer: LayerView, neurons: torch.Tensor) -> None:
    """Remove all other FFN neurons."""
    _take_outputs(layer.ffn_input, neurons)
    _take_inputs(layer.ffn_output, neurons)


def keep_hidden(model: nn.Module, hidden: torch.Tensor, pooled: torch.Tensor) -> None:
    """Remove all other hidden dimensions, and all outputs of the head's first layer but ``pooled``.

    Whatever reads them is scaled as if the removed ones had been like those that stay.
    """
    view = EncoderView(model)
    gain = math.sqrt(view.hidden_size / len(hidden))
    pooler, classifier = view.head
    for _, readers in view.readers:
        for reader in readers:
            _take_inputs(reader, hidden, gain)
    for table in view.tables:
        table.weight.data = table.weight.data[:, hidden]
    writers = [module for layer in view.layers for block in layer.blocks for module in block]
    for writer in (view.norm, *writers):
        _take_outputs(writer, hidden)
    _take_outputs(pooler, pooled)
    _take_inputs(classifier, pooled, gain)


def rebuilt(model: nn.Module, *, stock: bool = False) -> PreTrainedModel:
    """The cut weights of ``model`` in a class whose config describes them, so that they save and reload.

    Args:
        model: its config still says what it was before the cut, but for layers that were removed.
        stock: use the family's own class where all layers are alike and their heads fill the hidden size.
    """
    view, widths = EncoderView(model), Widths.of(model)
    family, hidden_size = view.family, view.words.weight.shape[1]
    told = {
        name: value
        for name, value in view.config.to_dict().items()
        if name not in ("model_type", "architectures", *PRUNED_SETTINGS)
    }
    # Transformers wants a number of heads that divides the hidden size; in a pruned model it says nothing else.
    changed = {
        "hidden_size": hidden_size,
        "num_attention_heads": math.gcd(hidden_size, view.read("num_attention_heads")),
    }
    config, kind = pruned_config(family), pruned_classifier(family)
    if stock and widths.is_even and hidden_size == widths.heads[0] * view.head_size:
        config, kind = getattr(transformers, family.config), getattr(transformers, family.classifier)
        changed["num_attention_heads"] = widths.heads[0]
    else:
        told |= dict(zip(PRUNED_SETTINGS, (list(widths.heads), list(widths.neurons), view.head_size), strict=True))
    with quiet_transformers():
        again: PreTrainedModel = kind(config(**told | family.renamed(changed)))
    again.load_state_dict(model.state_dict())
    again.train(mode=False)
    return again


def _take_outputs(module: nn.Linear | nn.LayerNorm, kept: torch.Tensor) -> None:
    module.weight.data, module.bias.data = module.weight.data[kept], module.bias.data[kept]


def _take_inputs(linear: nn.Linear, kept: torch.Tensor, gain: float = 1.0) -> None:
    linear.weight.data = linear.weight.data[:, kept] * gain
    linear.in_features = len(kept)
