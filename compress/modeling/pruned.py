"""A BERT classifier whose layers differ in width; registers itself with the Auto classes."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from compress.modeling.pruned_config import PrunedBertConfig


class PrunedBertForSequenceClassification(BertForSequenceClassification):
    """:class:`transformers.BertForSequenceClassification` with heads and FFN neurons counted layer by layer."""

    config_class = PrunedBertConfig

    def __init__(self, config: PrunedBertConfig) -> None:
        super().__init__(config)
        widths = zip(config.heads_per_layer or (), config.neurons_per_layer or (), strict=True)
        for layer, (heads, neurons) in zip(self.bert.encoder.layer, widths, strict=True):
            _resize(layer, config.hidden_size, heads, config.attention_head_size, neurons)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


class NoHeads(nn.Module):
    """Stands in for the self-attention of a layer that has no heads left: a context of width 0."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        """``[batch, length, hidden]`` to ``[batch, length, 0]``."""
        return hidden_states[..., :0], None


def head_size_of(config: BertConfig) -> int:
    """Width of one attention head; a stock BERT's config leaves it to be worked out."""
    return getattr(config, "attention_head_size", config.hidden_size // config.num_attention_heads)


def set_heads(layer: nn.Module, heads: int, head_size: int) -> None:
    """Tell a layer how many heads its projections now hold (0 replaces its self-attention)."""
    attention: Any = layer.attention
    if heads == 0:
        attention.self = NoHeads()
        return
    attention.self.num_attention_heads = heads
    attention.self.attention_head_size = head_size
    attention.self.all_head_size = heads * head_size
    attention.self.scaling = head_size**-0.5


def _resize(whole: nn.Module, hidden_size: int, heads: int, head_size: int, neurons: int) -> None:
    layer: Any = whole
    width = heads * head_size
    for name in ("query", "key", "value"):
        setattr(layer.attention.self, name, nn.Linear(hidden_size, width))
    layer.attention.output.dense = nn.Linear(width, hidden_size)
    layer.intermediate.dense = nn.Linear(hidden_size, neurons)
    layer.output.dense = nn.Linear(neurons, hidden_size)
    set_heads(layer, heads, head_size)


AutoModelForSequenceClassification.register(PrunedBertConfig, PrunedBertForSequenceClassification)
