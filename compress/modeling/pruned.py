"""Classifiers whose layers differ in width: a class for each family, known to the Auto classes under ``pruned_``."""

import copy
from functools import cache
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from compress.errors import CompressError
from compress.families import FAMILIES
from compress.families.family import PRUNED, Family
from compress.families.view import EncoderView, LayerView

# The settings that a pruned model's config has beside its family's.
PRUNED_SETTINGS = (
    "heads_per_layer",
    "neurons_per_layer",
    "attention_head_size",
    "keeps_projection",
    "begins_with_norm",
)


@cache
def pruned_config(family: Family) -> Any:
    """The class of configs with a number of attention heads and of FFN neurons for every layer."""
    base: Any = getattr(transformers, family.config)

    class Pruned(base):  # type: ignore[misc]  # a class that is only known at run time
        """Settings beside those of the family."""

        model_type = PRUNED + family.model_type
        attention_head_size: int = 64
        heads_per_layer: list[int] | None = None  # each 0 or more
        neurons_per_layer: list[int] | None = None  # each 0 or more
        keeps_projection: bool = False  # the embeddings keep theirs, even where it does not change the width
        begins_with_norm: bool = False  # the first layer too begins with a norm, which stock ModernBERT's lacks

        @property
        def head_dim(self) -> int:
            """The head size, by the name that transformers' rotary positions read."""
            return self.attention_head_size

        def __post_init__(self, **kwargs: Any) -> None:
            super().__post_init__(**kwargs)
            layers = family.read(self, "num_hidden_layers")
            self.heads_per_layer = self.heads_per_layer or [family.read(self, "num_attention_heads")] * layers
            self.neurons_per_layer = self.neurons_per_layer or [family.read(self, "intermediate_size")] * layers
            if not len(self.heads_per_layer) == len(self.neurons_per_layer) == layers:
                raise ValueError(
                    f"heads_per_layer and neurons_per_layer need one entry for each of {layers} layers, "
                    f"got {self.heads_per_layer} and {self.neurons_per_layer}"
                )

    return _named_after(base, Pruned)


@cache
def pruned_classifier(family: Family) -> Any:
    """The class of classifiers that :func:`pruned_config` describes."""
    base: Any = getattr(transformers, family.classifier)

    class Pruned(base):  # type: ignore[misc]
        config_class = pruned_config(family)

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            view = EncoderView(self)
            if config.keeps_projection and view.projection is None:
                has_bias = not family.embeddings.projects_first
                view.projection = nn.Linear(config.embedding_size, view.hidden_size, bias=has_bias)
            if config.begins_with_norm:
                view.layers[0].attention_norm = copy.deepcopy(view.layers[0].ffn_norm)
            for layer, heads, neurons in zip(
                view.layers, config.heads_per_layer, config.neurons_per_layer, strict=True
            ):
                _resize(layer, heads, neurons)
            self.post_init()

    return _named_after(base, Pruned)


class NoHeads(nn.Module):
    """Stands in for the attention of a layer without heads: a context of width 0.

    An output projection that is a part of the attention module, and not beside it, is ``output``, at the path ``name``.
    """

    def __init__(self, name: str = "", output: nn.Module | None = None) -> None:
        super().__init__()
        self._name = name
        if output is not None:
            self.add_module(name, output)

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        """``[batch, length, hidden]`` to ``[batch, length, 0]``, or to what the output projection makes of that."""
        context = hidden_states[..., :0]
        return self.get_submodule(self._name)(context) if self._name else context, None


def set_heads(layer: LayerView, heads: int) -> None:
    """Set the number of heads that a layer's projections now hold; 0 replaces its attention by :class:`NoHeads`."""
    attention: Any = layer.attention
    paths = layer.paths
    if heads:
        size = layer.head_size
        values = {"num_attention_heads": heads, "attention_head_size": size, "head_dim": size, "scaling": size**-0.5}
        for name in paths.head_attributes:
            if not hasattr(attention, name):  # a new name would leave the attention at its old value
                raise CompressError(
                    f"{type(attention).__name__} of transformers {transformers.__version__} has no {name}, which "
                    "pruned models need; install an earlier transformers"
                )
            setattr(attention, name, values[name])
        attention.num_attention_heads = heads  # for what looks at the module, where the forward pass does not
    elif (name := paths.attention_output.removeprefix(f"{paths.attention}.")) != paths.attention_output:
        layer.attention = NoHeads(name, layer.attention_output)
    else:
        layer.attention = NoHeads()


def _resize(layer: LayerView, heads: int, neurons: int) -> None:
    hidden_size, width = layer.query.in_features, heads * layer.head_size
    attention_bias, ffn_bias = layer.query.bias is not None, layer.ffn_input.bias is not None
    if layer.paths.fused:
        layer.query = nn.Linear(hidden_size, 3 * width, bias=attention_bias)
    else:
        layer.query, layer.key, layer.value = (nn.Linear(hidden_size, width) for _ in range(3))
    layer.position_projections = [nn.Linear(hidden_size, width) for _ in layer.position_projections]
    layer.attention_output = nn.Linear(width, hidden_size, bias=attention_bias)
    layer.ffn_input = nn.Linear(hidden_size, (2 if layer.paths.fused else 1) * neurons, bias=ffn_bias)
    layer.ffn_output = nn.Linear(neurons, hidden_size, bias=ffn_bias)
    set_heads(layer, heads)


def _named_after(base: type, pruned: Any) -> Any:
    """Give a pruned class its name, which goes into ``config.json``."""
    pruned.__name__ = pruned.__qualname__ = f"Pruned{base.__name__}"
    return pruned


for _family in FAMILIES.values():
    AutoConfig.register(PRUNED + _family.model_type, pruned_config(_family))
    AutoModelForSequenceClassification.register(pruned_config(_family), pruned_classifier(_family))
