"""A narrower copy of a classifier: fewer heads, FFN neurons and hidden dimensions, all of them its own.

What remains is adjusted for what was dropped. The rules are those that started nearest to the teacher's logits on two
real MiniLM classifiers; there, norms of weights alone chose neurons no better than chance.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.families.view import EncoderView
from compress.modeling.surgery import head_columns, keep_heads, keep_hidden, keep_neurons, rebuilt
from compress.modeling.widths import Widths

_PROBES, _PROBE_LENGTH = 64, 32


@dataclass(frozen=True)
class Inputs:
    """Statistics of a linear layer's inputs over the tokens of a probe, each float64 ``[in]``."""

    mean: torch.Tensor
    spread: torch.Tensor  # variance of what each input adds to the outputs, summed over the outputs


@torch.no_grad()
def narrow(
    model: nn.Module,
    *,
    heads: int | None = None,
    ffn_size: int | None = None,
    hidden_size: int | None = None,
    pairs: bool = False,
) -> PreTrainedModel:
    """A copy with the most important heads and neurons of each layer, and hidden dimensions; None keeps all.

    A layer that has fewer keeps all it has; the head size stays. With ``pairs`` the probe has second texts too. The
    copy is of the family's own class where all layers are alike and the heads fill the hidden size, else of the pruned
    class.

    Heads and neurons are ranked by the variance of what they add (input variance times squared weight norm, after
    Wanda, Sun et al. 2023); what the removed ones add on average goes into the bias. The inputs come from a probe of
    random tokens, as no data is at hand. Hidden dimensions, the same through the whole model, are ranked by how much
    of what layers read comes from them, as estimated from layer norms and weights.
    """
    narrower = copy.deepcopy(model).cpu().eval()
    view = EncoderView(narrower)
    hidden, pooled = _hidden_dimensions(view, hidden_size)  # judged before anything is cut
    inputs = _probe(view, pairs)
    for layer in view.layers:
        attention, ffn = inputs[layer.attention_output], inputs[layer.ffn_output]
        kept = _strongest(attention.spread.reshape(-1, layer.head_size).sum(dim=1), heads)
        if len(kept) < layer.heads:
            _adjust(layer.attention_output, attention, head_columns(kept, layer.head_size))
            keep_heads(layer, kept)
        kept = _strongest(ffn.spread, ffn_size)
        if len(kept) < layer.neurons:
            _adjust(layer.ffn_output, ffn, kept)
            keep_neurons(layer, kept)
    keep_hidden(narrower, hidden, pooled)
    view.write(intermediate_size=max(Widths.of(narrower).neurons))
    return rebuilt(narrower, stock=True)


def _probe(view: EncoderView, pairs: bool) -> dict[nn.Module, Inputs]:
    """The inputs of each layer's two output projections, over texts of random tokens."""
    inputs_of: dict[nn.Module, Inputs] = {}

    def record(linear: Any, args: tuple[torch.Tensor]) -> None:
        values = args[0].flatten(0, -2).double()
        mean = values.mean(dim=0)
        spread = (values - mean).square().mean(dim=0) * linear.weight.double().square().sum(dim=0)
        inputs_of[linear] = Inputs(mean, spread)

    sites = [block.projection for layer in view.layers for block in layer.blocks]
    handles = [site.register_forward_pre_hook(record) for site in sites]
    length = min(_PROBE_LENGTH, view.longest)
    ids = torch.randint(view.words.num_embeddings, (_PROBES, length), generator=torch.Generator().manual_seed(0))
    segments = (torch.arange(length) >= length / 2).long().expand_as(ids) if pairs else torch.zeros_like(ids)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": segments}
    view.module(**view.inputs(batch))
    for handle in handles:
        handle.remove()
    return inputs_of


def _strongest(importance: torch.Tensor, count: int | None) -> torch.Tensor:
    """The ``count`` most important units, as rising indices."""
    return torch.argsort(importance, descending=True, stable=True)[:count].sort().values


def _adjust(linear: nn.Linear, inputs: Inputs, kept: torch.Tensor) -> None:
    """Scale ``linear``'s weights of the ``kept`` inputs and shift its bias, as the others go.

    Its outputs keep their mean and variance.
    """
    remaining = inputs.spread[kept].sum()
    gain = torch.sqrt(inputs.spread.sum() / remaining) if remaining > 0 else torch.ones(())
    weight = linear.weight.double()
    adjusted = weight[:, kept] * gain
    if linear.bias is not None:
        linear.bias.data += (weight @ inputs.mean - adjusted @ inputs.mean[kept]).float()
    linear.weight.data[:, kept] = adjusted.float()


def _mean_square(writer: nn.LayerNorm | nn.Linear, norm: nn.LayerNorm) -> torch.Tensor:
    """The approximate mean square of each output of ``writer``, a layer norm or a projection of ``norm``'s output."""
    weight = writer.weight.double()
    bias = torch.zeros_like(weight) if writer.bias is None else writer.bias.double()
    if isinstance(writer, nn.LayerNorm):
        return weight.square() + bias.square()
    scale, shift = norm.weight.double(), norm.bias.double()
    return (weight * scale).square().sum(dim=1) + (weight @ shift + bias).square()


def _hidden_dimensions(view: EncoderView, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden dimensions to keep, and the outputs of the head's first layer, which are dimensions of their own.

    After a layer norm a dimension's mean square is about scale² + shift²; times the squared weights that read it, it is
    the dimension's contribution to what a layer reads. The shares of all layers are added.
    """
    importance = torch.zeros(view.hidden_size, dtype=torch.float64)
    for writer, readers in view.readers:
        if readers:  # a layer without heads reads nothing
            read = sum(linear.weight.double().square().sum(dim=0) for linear in readers)
            contribution = _mean_square(writer, view.norm) * read
            importance += contribution / contribution.sum().clamp(min=torch.finfo(torch.float64).tiny)
    pooler, classifier = view.head
    pooled = pooler.weight.norm(dim=1) * classifier.weight.norm(dim=0)
    return _strongest(importance, count), _strongest(pooled, count)
