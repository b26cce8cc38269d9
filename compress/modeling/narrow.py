"""A narrower copy of a BERT classifier: fewer heads, FFN neurons and hidden dimensions, all of them its own.

What the dropped ones did is made up for. The rules are those that started nearest to the teacher's logits on two real
MiniLM classifiers; there, norms of weights alone chose neurons no better than chance.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import PrunedBertForSequenceClassification, head_size_of
from compress.modeling.pruned_config import PrunedBertConfig

_PROBES, _PROBE_LENGTH = 64, 32
_PER_LAYER = ("heads_per_layer", "neurons_per_layer", "attention_head_size")


@dataclass(frozen=True)
class Inputs:
    """What a linear layer was given over the tokens of a probe.

    Attributes:
        mean: of each input, float64 ``[in]``.
        spread: variance of what each input adds to the outputs, summed over these, float64 ``[in]``.
    """

    mean: torch.Tensor
    spread: torch.Tensor


@torch.no_grad()
def narrow(
    model: BertForSequenceClassification,
    heads: int | None,
    ffn_size: int | None,
    hidden_size: int | None,
    *,
    pairs: bool = False,
) -> BertForSequenceClassification:
    """A copy that keeps the most important units of ``model``; None keeps them all. The head size stays.

    Heads and neurons stay by how much what they add varies, and what the others add on average goes into the bias:
    input variance times squared weight norm, after Wanda (Sun et al. 2023). The inputs come from a probe of random word
    pieces, as no data is at hand. Hidden dimensions stay, the same through the whole model, by how much of what layers
    read comes from them, judged by layer norms and weights.

    Args:
        model: even or uneven in its layers.
        heads: of each layer; a layer that has fewer keeps those.
        ffn_size: neurons of each layer; a layer that has fewer keeps those.
        hidden_size: at most the model's.
        pairs: whether it reads pairs of texts, so that the probe has second texts too.

    Returns:
        A stock BERT where all layers are as wide and the heads fill the hidden size, else a pruned one.
    """
    head_size = head_size_of(model.config)
    narrower = copy.deepcopy(model).cpu().eval()
    hidden, pooled = _hidden_dimensions(narrower, hidden_size)  # judged before anything is cut
    inputs = _probe(narrower, pairs)
    layers: Any = narrower.bert.encoder.layer
    for layer in layers:
        _keep_heads(layer, inputs[layer.attention.output.dense], heads, head_size)
        _keep_neurons(layer, inputs[layer.output.dense], ffn_size)
    _keep_hidden(narrower, hidden, pooled)
    return _rebuilt(narrower, head_size)


def _probe(model: BertForSequenceClassification, pairs: bool) -> dict[nn.Module, Inputs]:
    """The inputs of each layer's two output projections, over texts of random word pieces."""
    seen: dict[nn.Module, Inputs] = {}

    def look(linear: Any, given: tuple[torch.Tensor]) -> None:
        values = given[0].flatten(0, -2).double()
        mean = values.mean(dim=0)
        seen[linear] = Inputs(mean, (values - mean).square().mean(dim=0) * linear.weight.double().square().sum(dim=0))

    layers: Any = model.bert.encoder.layer
    sites = [site for layer in layers for site in (layer.attention.output.dense, layer.output.dense)]
    handles = [site.register_forward_pre_hook(look) for site in sites]
    length = min(_PROBE_LENGTH, model.config.max_position_embeddings)
    ids = torch.randint(model.config.vocab_size, (_PROBES, length), generator=torch.Generator().manual_seed(0))
    segments = (torch.arange(length) >= length / 2).long().expand_as(ids)
    model(ids, token_type_ids=segments if pairs else torch.zeros_like(ids))
    for handle in handles:
        handle.remove()
    return seen


def _strongest(importance: torch.Tensor, count: int | None) -> torch.Tensor:
    """The ``count`` most important units, as rising indices."""
    return torch.argsort(importance, descending=True, stable=True)[:count].sort().values


def _keep_heads(layer: Any, inputs: Inputs, count: int | None, head_size: int) -> None:
    heads = _strongest(inputs.spread.reshape(-1, head_size).sum(dim=1), count)
    columns = (heads[:, None] * head_size + torch.arange(head_size)).flatten()
    if len(columns) < len(inputs.mean):
        for name in ("query", "key", "value"):
            _take_outputs(getattr(layer.attention.self, name), columns)
        _keep_inputs(layer.attention.output.dense, inputs, columns)


def _keep_neurons(layer: Any, inputs: Inputs, count: int | None) -> None:
    neurons = _strongest(inputs.spread, count)
    if len(neurons) < len(inputs.mean):
        _take_outputs(layer.intermediate.dense, neurons)
        _keep_inputs(layer.output.dense, inputs, neurons)


def _keep_inputs(linear: nn.Linear, inputs: Inputs, kept: torch.Tensor) -> None:
    """Drop the other inputs of ``linear``; on the probe its outputs keep their means and how much they vary."""
    remaining = inputs.spread[kept].sum()
    gain = torch.sqrt(inputs.spread.sum() / remaining) if remaining > 0 else torch.ones(())
    weight = linear.weight.double()
    narrowed = weight[:, kept] * gain
    linear.bias.data += (weight @ inputs.mean - narrowed @ inputs.mean[kept]).float()
    linear.weight.data = narrowed.float()


def _hidden_dimensions(model: Any, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden dimensions to keep, and the pooler's outputs, which are dimensions of their own.

    After a layer norm a dimension's mean square is about scale² + shift²; times the squared weights that read it, it
    is what the dimension brings to them. The shares of all layers are added.
    """
    importance = torch.zeros(model.config.hidden_size, dtype=torch.float64)
    for norm, readers in _readers(model):
        read = sum(linear.weight.double().square().sum(dim=0) for linear in readers)
        brought = (norm.weight.double().square() + norm.bias.double().square()) * read
        importance += brought / brought.sum().clamp(min=torch.finfo(torch.float64).tiny)
    pooled = model.bert.pooler.dense.weight.norm(dim=1) * model.classifier.weight.norm(dim=0)
    return _strongest(importance, count), _strongest(pooled, count)


def _readers(model: Any) -> list[tuple[nn.LayerNorm, list[nn.Linear]]]:
    """The linear layers that read hidden states, each with the layer norm that wrote these."""
    norm, found = model.bert.embeddings.LayerNorm, []
    for layer in model.bert.encoder.layer:
        attention = layer.attention.self
        if hasattr(attention, "query"):  # a layer without heads reads nothing
            found.append((norm, [attention.query, attention.key, attention.value]))
        found.append((layer.attention.output.LayerNorm, [layer.intermediate.dense]))
        norm = layer.output.LayerNorm
    return [*found, (norm, [model.bert.pooler.dense])]


def _keep_hidden(model: Any, hidden: torch.Tensor, pooled: torch.Tensor) -> None:
    """Drop the other hidden dimensions; readers are scaled as if the dropped ones had been like those that stay."""
    embeddings, classifier = model.bert.embeddings, model.classifier
    gain = math.sqrt(model.config.hidden_size / len(hidden))
    readers = [linear for _, linears in _readers(model) for linear in linears]
    for table in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings):
        table.weight.data = table.weight.data[:, hidden]
    for reader in readers:
        reader.weight.data = reader.weight.data[:, hidden] * gain
    _take_outputs(embeddings.LayerNorm, hidden)
    for layer in model.bert.encoder.layer:
        for part in (layer.attention.output, layer.output):
            _take_outputs(part.dense, hidden)
            _take_outputs(part.LayerNorm, hidden)
    _take_outputs(model.bert.pooler.dense, pooled)
    classifier.weight.data = classifier.weight.data[:, pooled] * gain


def _take_outputs(module: Any, kept: torch.Tensor) -> None:
    module.weight.data, module.bias.data = module.weight.data[kept], module.bias.data[kept]


def _rebuilt(model: Any, head_size: int) -> BertForSequenceClassification:
    """The cut weights in a class whose config describes them, so that they save and reload."""
    layers = model.bert.encoder.layer
    heads = [layer.attention.output.dense.weight.shape[1] // head_size for layer in layers]
    neurons = [layer.output.dense.weight.shape[1] for layer in layers]
    hidden_size = len(model.bert.pooler.dense.bias)
    settings = {
        name: value
        for name, value in model.config.to_dict().items()
        if name not in ("model_type", "architectures", *_PER_LAYER)
    }
    settings |= {"hidden_size": hidden_size, "intermediate_size": max(neurons)}
    rebuilt: BertForSequenceClassification
    with quiet_transformers():
        if len(set(heads)) == len(set(neurons)) == 1 and hidden_size == heads[0] * head_size:
            rebuilt = BertForSequenceClassification(BertConfig(**settings | {"num_attention_heads": heads[0]}))
        else:
            # Transformers wants a number of heads that divides the hidden size; the numbers that count are per layer.
            stock = {"num_attention_heads": math.gcd(hidden_size, model.config.num_attention_heads)}
            widths = dict(zip(_PER_LAYER, (heads, neurons, head_size), strict=True))
            rebuilt = PrunedBertForSequenceClassification(PrunedBertConfig(**settings | stock | widths))
    rebuilt.load_state_dict(model.state_dict())
    rebuilt.train(mode=False)
    return rebuilt
