"""How to remove it: torch-pruning's dependency groups take heads and neurons out of the weights."""

import copy
from typing import Any

import torch
import torch_pruning
from torch import nn
from transformers import BertForSequenceClassification

from compress.errors import CompressError
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import PrunedBertForSequenceClassification, head_size_of, set_heads
from compress.modeling.pruned_config import PrunedBertConfig
from compress.pruning.selection import Cut


def cut_model(model: BertForSequenceClassification, cut: Cut) -> PrunedBertForSequenceClassification:
    """A new model without what ``cut`` leaves out; its logits equal those of ``model`` with the same units masked.

    A layer that keeps neurons but no heads, or heads but no neurons, has in the place of the part that went that
    part's bias. A layer that keeps neither is gone: the next one reads what it read.

    Raises:
        CompressError: the cut leaves no layer.
    """
    if not cut.layers:
        raise CompressError("a cut must leave a head or a block of neurons in at least one layer, got one without any")
    whole = copy.deepcopy(model).cpu().eval()
    head_size = head_size_of(whole.config)
    graph = torch_pruning.DependencyGraph().build_dependency(whole, example_inputs=_example(whole))
    for index in cut.layers:
        layer: Any = whole.bert.encoder.layer[index]
        heads, neurons = cut.heads[index], cut.neurons[index]
        if hasattr(layer.attention.self, "query"):
            columns = [head * head_size + offset for head in heads for offset in range(head_size)]
            _keep_only(graph, layer.attention.self.query, columns)
            set_heads(layer, len(heads), head_size)
        _keep_only(graph, layer.intermediate.dense, neurons)
    whole.bert.encoder.layer = nn.ModuleList(whole.bert.encoder.layer[index] for index in cut.layers)
    return _as_pruned(whole, cut, head_size)


def _keep_only(graph: Any, linear: nn.Linear, kept: list[int]) -> None:
    removed = sorted(set(range(linear.out_features)) - set(kept))
    if removed:
        graph.get_pruning_group(linear, torch_pruning.prune_linear_out_channels, removed).prune()


def _example(model: BertForSequenceClassification) -> dict[str, torch.Tensor]:
    ids = torch.arange(8).reshape(2, 4) % model.config.vocab_size
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _as_pruned(model: BertForSequenceClassification, cut: Cut, head_size: int) -> PrunedBertForSequenceClassification:
    """The cut weights in the class whose config can describe them, so that they save and reload."""
    stock = {
        name: value for name, value in model.config.to_dict().items() if name not in ("model_type", "architectures")
    }
    widths = {
        "num_hidden_layers": len(cut.layers),
        "attention_head_size": head_size,
        "heads_per_layer": [len(cut.heads[index]) for index in cut.layers],
        "neurons_per_layer": [len(cut.neurons[index]) for index in cut.layers],
    }
    config = PrunedBertConfig(**(stock | widths))
    with quiet_transformers():
        pruned = PrunedBertForSequenceClassification(config)
    pruned.load_state_dict(model.state_dict())
    pruned.train(mode=False)
    return pruned
